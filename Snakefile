from pathlib import Path

from clce_bench.costs.run_time import features_threads
from clce_bench.execution import finished_cells, interruption, worker
from clce_bench.planning.plan import load_plan
from clce_bench.planning.rounds_record import schedule_of
from clce_bench.scheduling import batching, commands
from clce_bench.scheduling.figure_labels import figure_labels
from clce_bench.scheduling.job_inputs import begin, inputs_of_jobs
from clce_bench.scheduling.resources import Estimates
from clce_bench.tracking.store_check import check_store


# Used with --sdm apptainer only, by the rules that follow: docs/cluster.md says how it is built.
container: "containers/clce-bench.sif"


include: "workflow/rules/internals.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


# On a cluster these run where Snakemake does: they take seconds, or need a network.
localrules:
    all,
    dataset,
    splits,
    labels,
    episodes,
    backbone,
    tune,
    summarize,
    figures,
    report,
    track,


rule all:
    default_target: True
    input:
        PLAN.targets,


onstart:
    interruption.answer_briefly()
    interruption.answer_termination(workflow.scheduler.exit_gracefully)
    check_names(EXPERIMENT_FILE)
    PLAN.mark_start(workflow.cores)
    worker.allow(verbs_to_run_here())


onsuccess:
    finished_cells.forget(cell.directory for cell in PLAN.cells)
    if schedule_of(PLAN.experiment):
        shell("{CLI} rounds --experiment {FOLDER}/experiment.json || [ $? = 1 ]")
    elif PLAN.deciding:
        print(
            "The trials have chosen settings; the same command now trains with them."
        )
    if not PLAN.deciding and Path(f"{FOLDER}/report.html").exists():
        shell(
            "COLUMNS=140 {CLI} headline --close-run --experiment {FOLDER}/experiment.json > {FOLDER}/headline.txt"
        )


# Beside the files of the whole experiment, never in their place: those must wait until all cells are done.
onerror:
    if not interruption.was_interrupted():
        shell(
            "{CLI} status --experiment {FOLDER}/experiment.json; "
            "{CLI} summarize --experiment {FOLDER}/experiment.json --output {FOLDER}/partial && "
            "{CLI} report --experiment {FOLDER}/experiment.json --output {FOLDER}/partial/report.html && "
            "{CLI} track --experiment {FOLDER}/experiment.json && "
            "echo What there is: {FOLDER}/partial/report.html"
        )
