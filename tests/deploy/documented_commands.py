"""The commands of batch systems as daflow calls them, each with the page that it and its options are on."""

from __future__ import annotations

from typing import Final

from tests.deploy.documented import (
    BSUB,
    CONDOR_NEW,
    MSUB,
    NOT_LOOKED_UP,
    OARSUB,
    QSUB_PBS,
    QSUB_TORQUE,
    SBATCH,
    SUBMIT_SGE,
)

SCRIPT: Final = r"/\S+"
IDS: Final = r"\S+( \S+)*"
QSTAT_PBS: Final = "OpenPBS, qstat(1B): doc/man1/qstat.1B of openpbs/openpbs at 2208650"
LSF: Final = "IBM Spectrum LSF 10.1.0 Command Reference, "

COMMANDS: Final = {
    "slurm": {
        rf"sbatch --parsable( --array=0-\d+(%\d+)?)?( --dependency=afterany:\d+)? {SCRIPT}": SBATCH,
        r"squeue -h -r -t all -j [\d,]+ -o %i\|%T\|%r\|%N": "Slurm 22.05.8, squeue(1)",
        r"sacct -n -P -X -j [\d,]+ -o JobID,State,NodeList": "Slurm 22.05.8, sacct(1)",
        rf"scancel {IDS}": "Slurm 22.05.8, scancel(1): job_id[_array_id]",
    },
    "pbs": {
        rf"qsub( -J 0-\d+(%\d+)?)?( -W depend=afterany:\S+)? {SCRIPT}": (
            QSUB_PBS + "; %<max subjobs> is there, and not yet in the page of 2016 (032b529)"
        ),
        rf"qstat -x -f {IDS}": QSTAT_PBS,
        rf"qdel {IDS}": NOT_LOOKED_UP + "qdel(1B) was not opened",
    },
    "torque": {
        rf"qsub( -t 0-\d+(%\d+)?)?( -W depend=afterany:\S+)? {SCRIPT}": QSUB_TORQUE,
        rf"qstat (-x )?-f {IDS}": NOT_LOOKED_UP
        + "qstat(1B) of Torque was not opened; without -x where it refuses that",
        rf"qdel {IDS}": NOT_LOOKED_UP + "qdel(1B) of Torque was not opened",
    },
    "lsf": {
        r"bsub( -J daflow-\w+\[1-\d+\](%\d+)?)?( -w ended\(\d+\))?": (
            BSUB
            + '-J: "job_name[index_list]%job_slot_limit", -w; a script on standard input. ended() was not in '
            "what was found of -w"
        ),
        r"bjobs -a -noheader -o jobid jobindex stat exec_host exit_reason delimiter='\|' \d+( \d+)*": (
            LSF + "bjobs -a, -noheader, -o with delimiter; names of fields were not in what was found of -o"
        ),
        rf"bkill {IDS}": LSF + 'bkill: job_ID ... | "job_ID[index]" ...',
    },
    "sge": {
        rf"qsub -terse( -t 1-\d+)?( -tc \d+)?( -hold_jid \d+)? {SCRIPT}": SUBMIT_SGE,
        r"qstat -g d": "Grid Engine 8.1.9 (Debian), qstat(1)",
        r"qdel \d+( \d+)*|qdel \d+ -t \d+(-\d+)?": (
            "Grid Engine 8.1.9 (Debian), qdel(1): elements of arrays by -t alone"
        ),
    },
    "htcondor": {
        rf"condor_submit -terse {SCRIPT}( -append max_materialize = \d+)? -queue \d+": (
            CONDOR_NEW
            + ": -queue only where the description has no queue command; max_materialize limits jobs "
            "in the queue, waiting ones as well (-terse, -append: 00a2379)"
        ),
        r"condor_(q|history) \d+( \d+)* -af:, .+": (
            "HTCondor 23.4, condor_history(1): -autoformat[:jlhVr,tng] attr ...; condor_q was not opened"
        ),
        rf"condor_rm {IDS}": NOT_LOOKED_UP + "condor_rm(1) was not opened",
    },
    "oar": {
        rf"oarsub( -a \d+)? -S {SCRIPT}": OARSUB,
        r"oarstat -J -f -j \d+": "OAR 2.5.9, oarstat(1)",
        rf"oardel {IDS}": "OAR 2.5.9, oardel(1)",
    },
    "moab": {
        rf"msub( -l depend=afterany:\d+)? {SCRIPT}": (
            NOT_LOOKED_UP
            + f"{MSUB} has -l with extensions of the scheduler, DEPEND among them (Moab 7.0, 13.3 "
            "Resource Manager Extensions); its form was not found"
        ),
        r"checkjob \d+": NOT_LOOKED_UP + "found in a site's page, which has its states; not in Moab's own",
        r"canceljob \d+": NOT_LOOKED_UP + "no page was found",
    },
}
"""System -> patterns of whole commands, and their page."""
