// The error codes by which a bulk retry can select tasks. `budget_exhausted` and `cost_exhausted` are not: a task that ran
// out of its budget is retried singly, with a larger budget.
export const RETRIED_BY_CODE = [
  "model_unavailable",
  "model_timeout",
  "model_connection_lost",
  "model_reply_malformed",
  "model_rate_limited",
  "model_refused",
  "model_misconfigured",
  "model_quota_exhausted",
  "structured_output_unsupported",
  "worker_crashed",
  "dead_lettered",
  "deadline_exceeded",
  "invalid_output",
  "output_truncated",
  "too_many_gaps",
  "invalid_batch",
  "invalid_input",
  "input_missing",
];
