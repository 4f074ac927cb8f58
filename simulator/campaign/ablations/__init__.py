"""Safeguards of the Worker, each with the way to switch it off, and where that must show: one list of all."""

from simulator.campaign.ablations import (
    calls,
    dead_triggers,
    dispatch,
    events,
    fences,
    late_landing,
    letting_go,
    limits,
    pace,
    patience,
    responses,
    storage,
    submissions,
    tallies,
    terms,
    turns,
    webhooks,
    withdrawals,
)

ABLATIONS = (
    *fences.ABLATIONS,
    *calls.ABLATIONS,
    *dispatch.ABLATIONS,
    *withdrawals.ABLATIONS,
    *terms.ABLATIONS,
    *submissions.ABLATIONS,
    *limits.ABLATIONS,
    *late_landing.ABLATIONS,
    *letting_go.ABLATIONS,
    *pace.ABLATIONS,
    *patience.ABLATIONS,
    *storage.ABLATIONS,
    *dead_triggers.ABLATIONS,
    *tallies.ABLATIONS,
    *events.ABLATIONS,
    *webhooks.ABLATIONS,
    *responses.ABLATIONS,
    *turns.ABLATIONS,
)
BY_NAME = {ablation.name: ablation for ablation in ABLATIONS}
