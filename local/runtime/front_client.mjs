// The host's way to the front Worker: plain requests, which block nothing.

export class FrontClient {
  #url;
  #token;

  constructor(url, token) {
    this.#url = url;
    this.#token = token;
  }

  /** Applies migrations, { name, statements } each. Returns the names of the new ones. Throws if one fails. */
  async migrate(migrations) {
    const { applied } = await this.#ask("migrate", { migrations });
    return applied;
  }

  /** Ends the leases of workers that last wrote before `begunAt`, by the statement. Returns their number. */
  async expireLeases(statement, begunAt) {
    const { ended } = await this.#ask("leases", { statement, begunAt });
    return ended;
  }

  /** Fires a cron trigger, and returns when its run has ended. The Worker prints what goes wrong. */
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
