"""Safeguards of the Worker, each with the way to switch it off, and where that must show: one list of all."""

from simulator.campaign.ablations import calls, dispatch, fences, late_landing, limits, submissions, terms, withdrawals

ABLATIONS = (
    *fences.ABLATIONS,
    *calls.ABLATIONS,
    *dispatch.ABLATIONS,
    *withdrawals.ABLATIONS,
    *terms.ABLATIONS,
    *submissions.ABLATIONS,
    *limits.ABLATIONS,
    *late_landing.ABLATIONS,
)
BY_NAME = {ablation.name: ablation for ablation in ABLATIONS}
