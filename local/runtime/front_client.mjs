// Lets the host use the front Worker through HTTP requests, which do not block Node.js.

export class FrontClient {
  #url;
  #token;

  constructor(url, token) {
    this.#url = url;
    this.#token = token;
  }

  /** Applies migrations, each { name, statements }. Returns the names of those applied now. Throws if one fails. */
  async migrate(migrations) {
    const { applied } = await this.#ask("migrate", { migrations });
    return applied;
  }

  /** Ends the leases of workers that last wrote before `begunAt`, with the given statement. Returns their number. */
  async expireLeases(statement, begunAt) {
    const { ended } = await this.#ask("leases", { statement, begunAt });
    return ended;
  }

  /** Fires a cron trigger, and returns when its run has ended. The Worker prints the errors of the run. */
  async scheduled(cron) {
    await this.#ask("scheduled", { cron }).catch(() => {});
  }

  async #ask(task, body) {
    const response = await fetch(new URL(`/.local/${task}`, this.#url), {
      method: "POST",
      headers: { "x-local-token": this.#token },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  }
}
