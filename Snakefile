from clce_bench import warm
from clce_bench.errors import UserError
from clce_bench.jobs import plan_of
from clce_bench.loading import parse_experiment

# An experiment file given with --configfile replaces the default one: the two are never merged.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        f"{FOLDER}/report.html",
        f"{FOLDER}/tracked.json",


onstart:
    PLAN.mark_start(workflow.cores)
    warm.allow()


onsuccess:
    shell("clce-bench headline --experiment {FOLDER}/experiment.json")


onerror:
    shell("clce-bench track --experiment {FOLDER}/experiment.json")
