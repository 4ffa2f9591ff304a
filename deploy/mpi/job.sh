#!/bin/bash
# One job of Slurm that is a cluster of its own: scheduler and driver on its first node, a worker for each of its
# tasks on all of them. For queues that favour one large job over many small ones.
#
#   sbatch job.sh workflow.yaml runs/first      # again, when it has ended before the run: it goes on
#
#SBATCH --job-name=daflow-first
#SBATCH --nodes=2
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
set -euo pipefail
workflow=$1 run=$2
export DAFLOW_JOB_END=$(($(date +%s) + 4 * 3600)) # as --time says: workers begin nothing that would not end

# What daflow sets for clusters of its own: a worker's end is not blamed on tasks that only waited there.
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0
export DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING=False
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__PRELOAD=daflow.assemble.worker # a worker calls once it can begin a member
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
python=${PYTHON:-python3} # daflow's

# On a disk that all nodes see; it tells the workers where the scheduler is.
folder=$(mktemp --directory --tmpdir="${SLURM_SUBMIT_DIR:-$PWD}" .daflow-scheduler.XXXXXX)
"$python" -m distributed.cli.dask_scheduler --scheduler-file "$folder/scheduler.json" \
    --port 0 --no-dashboard --no-show ${INTERFACE:+--interface "$INTERFACE"} 2>"$folder/scheduler.log" &
scheduler=$!
until [ -s "$folder/scheduler.json" ]; do
    kill -0 $scheduler || { cat "$folder/scheduler.log" >&2; exit 1; }
    sleep 0.2
done
srun --overlap "$python" -m distributed.cli.dask_worker --scheduler-file "$folder/scheduler.json" \
    --nthreads 1 --no-dashboard --death-timeout 180 ${INTERFACE:+--interface "$INTERFACE"} \
    --local-directory "${TMPDIR:-/tmp}" 2>"$folder/workers.log" &
workers=$!
trap 'kill $workers $scheduler 2>/dev/null; wait; rm -r "$folder"' EXIT

address=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$folder/scheduler.json")
"$python" -m daflow.cli run "$workflow" --run "$run" --set "execution={kind: address, address: '$address'}"
