"""Lists the ablations: each switches a safeguard off, in a workload in which its absence must show."""

from simulator.campaign.ablations import (
    bills,
    calls,
    costs,
    dead_triggers,
    dispatch,
    events,
    fences,
    forms,
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
from simulator.campaign.ablations.batches import file_texts
from simulator.campaign.ablations.batches import safeguards as batches

ABLATIONS = (
    *fences.ABLATIONS,
    *calls.ABLATIONS,
    *bills.ABLATIONS,
    *costs.ABLATIONS,
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
    *forms.ABLATIONS,
    *batches.ABLATIONS,
    *file_texts.ABLATIONS,
    *turns.ABLATIONS,
)
BY_NAME = {ablation.name: ablation for ablation in ABLATIONS}
