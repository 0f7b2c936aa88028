"""The control loop: keys come out of the work queue, each is reconciled, and added again when that is due.

- `workqueue`: which key is next, and when.
- `reconciler`: one ModelDeployment: observe, decide, act, report, requeue.
- `executor`: carries out the actions of a plan.
- `status_writer`: writes the status and its Events.
- `manager`: leader election, informers, workers and resync of one process.
- `metrics`, `health`: what the process exports.
"""
