"""Which queued job runs where and when: a pure function of queue, running jobs, nodes, quotas and the moment.

`plan.plan_jobs` decides; `values` is what goes in and comes out, `fair_share` the order, `cluster` the room,
`preemption` who makes room, `waiting` what a person is told. The rule itself, in words, is
`docs/decisions/0007-who-runs-next.md`.
"""
