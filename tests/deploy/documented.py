"""The directives that batch systems document, as far as job scripts of daflow use them, each with its page.

Patterns of whole lines without the system's sign. A page is the one that the line and the form of its
argument were read on; what was found on none says so, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

NAME: Final = r"[A-Za-z0-9_.-]+"
PATH: Final = r"/[^ ]+"
TIME: Final = r"\d{1,3}:\d\d:\d\d"
NOT_LOOKED_UP: Final = "not looked up: "

SBATCH: Final = "Slurm 22.05.8, sbatch(1)"
QSUB_PBS: Final = "OpenPBS, qsub(1B): doc/man1/qsub.1B of openpbs/openpbs at 1dd4c36"
RESOURCES_PBS: Final = "OpenPBS, pbs_resources(7B): doc/man1/pbs_resources.7B of openpbs/openpbs at 1859ef9"
QSUB_TORQUE: Final = "Torque, qsub(1B): doc/man1/qsub.1.in of adaptivecomputing/torque at 4de2ae1"
RESOURCES_TORQUE: Final = "Torque 4.1.4 Administrator Guide, 2.1.3 Requesting resources"
MSUB: Final = "Moab Workload Manager documentation, msub (clusterresources.com)"
BSUB: Final = "IBM Spectrum LSF 10.1.0 Command Reference, bsub "
LSF_ADMIN: Final = "IBM Spectrum LSF 10.1.0, Administer: "
SUBMIT_SGE: Final = "Grid Engine 8.1.9 (Debian), sge_submit(1)"
TYPES_SGE: Final = "Son of Grid Engine, sge_types(1), memory_specifier and time_specifier"
COMPLEX_SGE: Final = "Son of Grid Engine, complex(5)"
OARSUB: Final = "OAR 2.5.9, oarsub(1)"
CONDOR: Final = "HTCondor manual, condor_submit: docs/man-pages/condor_submit.rst of htcondor/htcondor at "
CONDOR_NEW: Final = CONDOR + "135ca7a"
CONDOR_OLD: Final = CONDOR + "00a2379"


@dataclass(frozen=True, slots=True)
class Line:
    """What a directive says, and where that is written."""

    says: str
    page: str


@dataclass(frozen=True, slots=True)
class Documented:
    """What a system takes."""

    sign: str
    """What a line of the job script begins with; nothing: the script is a description of its own."""
    directives: dict[str, Line]


SYSTEMS: Final = {
    "slurm": Documented(
        "#SBATCH ",
        {
            rf"-J {NAME}": Line("--job-name", SBATCH),
            rf"-[eo] {PATH}-%J\.(err|out)": Line(
                "--error, --output; %J: jobid.stepid, of a script jobid", SBATCH
            ),
            rf"-p {NAME}": Line("--partition", SBATCH),
            rf"-A {NAME}": Line("--account", SBATCH),
            r"-n 1": Line("--ntasks", SBATCH),
            r"--cpus-per-task=\d+": Line("cores of one node", SBATCH),
            r"--mem=\d+[KMGT]": Line("memory of a node: size[K|M|G|T]", SBATCH),
            rf"-t {TIME}": Line("--time: hours:minutes:seconds is one of its forms", SBATCH),
            r"--no-requeue": Line("never back into the queue: node failure, preemption, an operator", SBATCH),
        },
    ),
    "pbs": Documented(
        "#PBS ",
        {
            rf"-N {NAME}": Line("name; up to 236 characters", QSUB_PBS + " and at 032b529"),
            rf"-[eo] {PATH}/": Line("a path without a file's name: <job ID>.ER and .OU are in it", QSUB_PBS),
            rf"-q {NAME}": Line("destination", QSUB_PBS),
            rf"-A {NAME}": Line("accounting string", QSUB_PBS),
            r"-l select=1:ncpus=\d+:mem=\d+(B|kB|MB|GB)": Line(
                "one chunk of so many cores and so much memory; the page has mem=10GB and mem=2gb",
                RESOURCES_PBS,
            ),
            rf"-l walltime={TIME}": Line("of the whole job", QSUB_PBS),
            r"-r [yn]": Line("rerunnable; job arrays always are", QSUB_PBS),
            r"-S /bin/bash": Line("shell; else that of the login", QSUB_PBS),
        },
    ),
    "torque": Documented(
        "#PBS ",
        {
            rf"-N {NAME}": Line("name; at most 15 characters, a letter first", QSUB_TORQUE),
            rf"-[eo] {PATH}/": Line(
                "a folder: files in it are job_name.o and .e with the number", QSUB_TORQUE
            ),
            rf"-q {NAME}": Line("destination", QSUB_TORQUE),
            rf"-A {NAME}": Line("account string", QSUB_TORQUE),
            r"-l nodes=1:ppn=\d+,mem=\d+mb": Line("cores of one node; memory of the job", RESOURCES_TORQUE),
            rf"-l walltime={TIME}": Line(
                "seconds or [[HH:]MM:]SS, as the page says of cput", RESOURCES_TORQUE
            ),
            r"-r [yn]": Line("rerunnable; y is the default", QSUB_TORQUE),
            r"-S /bin/bash": Line("shell; else that of the login", QSUB_TORQUE),
        },
    ),
    "lsf": Documented(
        "#BSUB ",
        {
            rf"-J {NAME}": Line("name", BSUB + "-J"),
            rf"-o {PATH}-%J\.out": Line("output is appended; %J is the job's id", BSUB + "-o"),
            rf"-e {PATH}-%J\.err": Line("errors", NOT_LOOKED_UP + "bsub -e was found in others' words only"),
            rf"-q {NAME}": Line("queue; one needs no quotes", BSUB + "-q"),
            rf'-P "{NAME}"': Line("project", BSUB + "-P"),
            r"-n \d+": Line("tasks, each a slot", BSUB + "-n"),
            r'-R "span\[hosts=1\]"': Line("all of them on one host", LSF_ADMIN + "Span string"),
            r"-M \d+": Line(
                "in LSF_UNIT_FOR_LIMITS, else KB; each process's, with LSB_JOB_MEMLIMIT=y the job's",
                BSUB + "-M; lsf.conf LSF_UNIT_FOR_LIMITS, LSB_JOB_MEMLIMIT",
            ),
            r"-W \d{1,3}:\d\d": Line("[hour:]minute, normalized by the host's CPU factor", BSUB + "-W"),
            r"-rn": Line("never rerun, whatever the queue says", BSUB + "-rn"),
        },
    ),
    "sge": Documented(
        "#$ ",
        {
            rf"-N {NAME}": Line("name", SUBMIT_SGE),
            rf"-[eo] {PATH}/": Line(
                "a folder: default names in it; with -j y that of -e is not used", SUBMIT_SGE
            ),
            rf"-q {NAME}": Line("queues", SUBMIT_SGE),
            rf"-P {NAME}": Line("project", SUBMIT_SGE),
            rf"-pe {NAME} \d+": Line("parallel environment and slots", SUBMIT_SGE),
            r"-l (mem_free|h_vmem)=\d+M": Line(
                "M is 1024 * 1024 bytes; a slot's where the complex is consumable, the job's if JOB",
                f"{SUBMIT_SGE}; {TYPES_SGE}; {COMPLEX_SGE}",
            ),
            rf"-l h_rt={TIME}": Line("hours:minutes:seconds", f"{TYPES_SGE}; {COMPLEX_SGE}"),
            r"-cwd": Line("start in the folder of submission", SUBMIT_SGE),
            r"-j y": Line("errors go to the output", SUBMIT_SGE),
            r"-r [yn]": Line("rerun after a crash; n is the default of 8.1.9", SUBMIT_SGE),
            r"-S /bin/bash": Line("shell", SUBMIT_SGE),
        },
    ),
    "oar": Documented(
        "#OAR ",
        {
            rf"-n {NAME}": Line("--name", OARSUB),
            rf"-q {NAME}": Line("--queue", OARSUB),
            rf"--project {NAME}": Line("project", OARSUB),
            rf"-l /nodes=1/core=\d+,walltime={TIME}": Line(
                "hierarchy and hour:mn:sec; that a site's is called core is not the page's word", OARSUB
            ),
            rf'-p ({NAME}>=\d+|"[^"]+")': Line("--property: a WHERE clause of SQL", OARSUB),
            r"-t [a-z]+": Line("--type", OARSUB),
            rf"-[OE] {PATH}/%jobid%\.(out|err)": Line("output, errors; %jobid% is the job's id", OARSUB),
        },
    ),
    "htcondor": Documented(
        "",
        {
            r"MY\.\w+ = .+": Line("an attribute of the job of one's own", CONDOR_NEW),
            rf"batch_name = {NAME}": Line("what condor_q shows", CONDOR_NEW),
            r"Request(Cpus|Memory|Disk) = [\w.() /]+": Line(
                "cores, MiB, KiB",
                NOT_LOOKED_UP
                + "the manual has request_cpus, _memory and _disk (135ca7a), with these units; that "
                "names of attributes do too was not found in it",
            ),
            rf"LogDirectory = {PATH}": Line("a macro: <macro_name> = <string>", CONDOR_NEW),
            r"(Output|Error|Log) = \$\(LogDirectory\)/[\w$().-]+": Line(
                "files; $(ClusterId) is given. $F(...) was not looked up", CONDOR_NEW
            ),
            r"Stream_(Output|Error) = True": Line("written as they come", CONDOR_OLD),
            r"periodic_remove = .+": Line(
                "looked at every 60 s by default; the job is removed then", CONDOR_OLD
            ),
            r"accounting_group = [\w.]+": Line("group", CONDOR_NEW),
            r"requirements = .+": Line("an expression of ClassAds; the last one counts", CONDOR_OLD),
            r"transfer_executable = False": Line("the executable is the machine's own", CONDOR_OLD),
            r'Arguments = "-c \'.+\'"': Line("quoted; single quotes keep spaces together", CONDOR_NEW),
            r"Executable = /bin/sh": Line("a path; the vanilla universe is the default", CONDOR_NEW),
            r"Queue": Line("one job", CONDOR_NEW),
        },
    ),
}


def _for_msub(line: Line) -> Line:
    told = f"for msub itself, whose page ({MSUB}) says that it takes the syntax of qsub; qsub: {line.page}"
    return replace(line, page=NOT_LOOKED_UP + told)


SYSTEMS["moab"] = Documented(
    "#PBS ", {pattern: _for_msub(line) for pattern, line in SYSTEMS["torque"].directives.items()}
)

MEMBERS: Final = {
    "slurm": {
        rf"--(job-name|partition|account)={NAME}": Line("long forms of -J, -p, -A", SBATCH),
        rf"--output={PATH}": Line("%a in it is the index in the array", SBATCH),
        r"--open-mode=append": Line("append|truncate", SBATCH),
        r"--(nodes|ntasks|cpus-per-task)=\d+": Line("one number of nodes is least and most", SBATCH),
        r"--mem=\d+M": Line("memory of a node", SBATCH),
        rf"--time=(\d+-)?{TIME}": Line("days-hours:minutes:seconds", SBATCH),
    },
    "pbs": {
        rf"-(N|q|A) {NAME}": Line("name, destination, accounting string", QSUB_PBS),
        r"-j oe": Line("errors go to the output", QSUB_PBS),
        rf"-o {PATH}": Line(
            "output",
            NOT_LOOKED_UP
            + "-o is in qsub(1B); ^array_index^ in it was found in users' scripts, on no manual page",
        ),
        rf"-l walltime={TIME}": Line("of the whole job", QSUB_PBS),
        r"-l select=\d+:ncpus=\d+:mpiprocs=\d+:ompthreads=\d+:mem=\d+mb": Line("chunks", RESOURCES_PBS),
        r"-l place=scatter": Line("one chunk with MPI processes a host", QSUB_PBS),
    },
    "torque": {
        rf"-(N|q|A) {NAME}": Line("name, destination, account", QSUB_TORQUE),
        r"-j oe": Line("errors go to the output", QSUB_TORQUE),
        rf"-o {PATH}": Line("output", QSUB_TORQUE),
        rf"-l walltime={TIME}": Line("seconds or [[HH:]MM:]SS, as the page says of cput", RESOURCES_TORQUE),
        r"-l nodes=\d+:ppn=\d+": Line("nodes and cores of each", RESOURCES_TORQUE),
        r"-l mem=\d+mb": Line("of the job; on Linux ignored with more than one node", RESOURCES_TORQUE),
    },
    "lsf": {
        rf"-J {NAME}": Line("name", BSUB + "-J"),
        rf"-o {PATH}": Line(
            "%I in it is the index in the array; errors too where there is no -e", BSUB + "-o"
        ),
        r"-W \d+:\d\d": Line("[hour:]minute", BSUB + "-W"),
        r"-n \d+": Line("tasks, each a slot", BSUB + "-n"),
        r'-R "span\[ptile=\d+\]"': Line("slots on each host", LSF_ADMIN + "Span string"),
        r'-R "rusage\[mem=\d+MB\]"': Line(
            "reserved on each host, unless RESOURCE_RESERVE_PER_TASK=y makes it each task's",
            BSUB
            + "-R (units in a translation of the page); "
            + LSF_ADMIN
            + "Enabling per-task memory reservation",
        ),
        rf"-q {NAME}": Line("queue", BSUB + "-q"),
        rf"-P {NAME}": Line("project", BSUB + "-P"),
    },
    "sge": {
        rf"-(N|q|P) {NAME}": Line("name, queues, project", SUBMIT_SGE),
        r"-j y": Line("errors go to the output", SUBMIT_SGE),
        r"-S /bin/bash": Line("shell", SUBMIT_SGE),
        rf"-o {PATH}": Line("$TASK_ID in it is the index in the array", SUBMIT_SGE),
        r"-l h_rt=\d+": Line("seconds", TYPES_SGE),
    },
}
"""System -> the directives of jobs that are members, or drivers."""
