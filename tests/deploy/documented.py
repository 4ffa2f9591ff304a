"""The directives that batch systems document, as far as job scripts of daflow use them.

Patterns of whole lines without the system's sign, each with what it says; and where that is documented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAME: Final = r"[A-Za-z0-9_.-]+"
PATH: Final = r"/[^ ]+"
TIME: Final = r"\d{1,3}:\d\d:\d\d"


@dataclass(frozen=True, slots=True)
class Documented:
    """What a system takes."""

    source: str
    sign: str
    """What a line of the job script begins with; nothing: the script is a description of its own."""
    directives: dict[str, str]


SYSTEMS: Final = {
    "slurm": Documented(
        "sbatch(1), Slurm 22.05",
        "#SBATCH ",
        {
            rf"-J {NAME}": "--job-name",
            rf"-[eo] {PATH}-%J\.(err|out)": "--error, --output; %J is the job's id",
            rf"-p {NAME}": "--partition",
            rf"-A {NAME}": "--account",
            r"-n 1": "--ntasks",
            r"--cpus-per-task=\d+": "cores of one node",
            r"--mem=\d+[KMGT]": "memory of a node, binary units",
            rf"-t {TIME}": "--time: hours:minutes:seconds",
            r"--no-requeue": "a job whose node failed does not start again",
        },
    ),
    "pbs": Documented(
        "PBS Professional 2022.1 Reference Guide, qsub",
        "#PBS ",
        {
            rf"-N {NAME}": "name; at most 15 characters in old releases",
            rf"-[eo] {PATH}/": "a folder, in which files are named after the job",
            rf"-q {NAME}": "destination",
            rf"-A {NAME}": "accounting string",
            r"-l select=1:ncpus=\d+:mem=\d+(B|kB|MB|GB)": "one chunk of so many cores and so much memory",
            rf"-l walltime={TIME}": "hours:minutes:seconds",
            r"-r [yn]": "rerunnable",
            r"-S /bin/bash": "shell",
        },
    ),
    "torque": Documented(
        "qsub(1B), Torque 6",
        "#PBS ",
        {
            rf"-N {NAME}": "name; at most 15 characters",
            rf"-[eo] {PATH}/": "a folder, in which files are named after the job",
            rf"-q {NAME}": "destination",
            rf"-A {NAME}": "account",
            r"-l nodes=1:ppn=\d+,mem=\d+mb": "so many cores of one node, and memory of the job",
            rf"-l walltime={TIME}": "hours:minutes:seconds",
            r"-r [yn]": "rerunnable",
            r"-S /bin/bash": "shell",
        },
    ),
    "lsf": Documented(
        "IBM Spectrum LSF 10.1 Command Reference, bsub",
        "#BSUB ",
        {
            rf"-J {NAME}": "name",
            rf"-[eo] {PATH}-%J\.(err|out)": "error and output files; %J is the job's id",
            rf"-q {NAME}": "queue",
            rf'-P "{NAME}"': "project",
            r"-n \d+": "slots",
            r'-R "span\[hosts=1\]"': "all of them on one host",
            r"-M \d+": "memory limit, in LSF_UNIT_FOR_LIMITS",
            r"-W \d{1,3}:\d\d": "hours:minutes",
            r"-rn": "not rerunnable",
        },
    ),
    "sge": Documented(
        "qsub(1), Son of Grid Engine 8.1.9",
        "#$ ",
        {
            rf"-N {NAME}": "name",
            rf"-[eo] {PATH}/": "a folder, in which files are named after the job",
            rf"-q {NAME}": "queue",
            rf"-P {NAME}": "project",
            rf"-pe {NAME} \d+": "parallel environment and slots",
            r"-l (mem_free|h_vmem)=\d+M": "memory, a slot",
            rf"-l h_rt={TIME}": "hard limit of run time",
            r"-cwd": "start in the folder of submission",
            r"-j y": "errors go to the output",
            r"-r [yn]": "rerunnable",
            r"-S /bin/bash": "shell; else that of the queue",
        },
    ),
    "oar": Documented(
        "oarsub(1), OAR 2.5",
        "#OAR ",
        {
            rf"-n {NAME}": "name",
            rf"-q {NAME}": "queue",
            rf"--project {NAME}": "project",
            rf"-l /nodes=1/core=\d+,walltime={TIME}": "so many cores of one node",
            rf"-p {NAME}>=\d+": "a property, in SQL",
            rf"-[OE] {PATH}/%jobid%\.(out|err)": "--stdout, --stderr; %jobid% is the job's id",
        },
    ),
    "htcondor": Documented(
        "HTCondor Version 23 Manual, condor_submit",
        "",
        {
            r"MY\.\w+ = .+": "an attribute of the job of one's own",
            rf"batch_name = {NAME}": "what condor_q shows",
            r"Request(Cpus|Memory|Disk) = [\w.() /]+": "cores, MiB, KiB",
            rf"LogDirectory = {PATH}": "a macro",
            r"(Output|Error|Log) = \$\(LogDirectory\)/[\w$().-]+": "files",
            r"Stream_(Output|Error) = True": "written as they come",
            r"periodic_remove = .+": "the job is removed when it is true",
            r"accounting_group = [\w.]+": "group",
            r"requirements = .+": "of machines",
            r'Arguments = "-c \'.+\'"': "quoted; single quotes keep spaces together",
            r"Executable = /bin/sh": "on the machine: vanilla universe",
            r"Queue": "one job",
        },
    ),
}
SYSTEMS["moab"] = Documented(
    "Moab Workload Manager Administrator Guide 9.1, msub: options of qsub in #PBS lines",
    "#PBS ",
    SYSTEMS["torque"].directives,
)
