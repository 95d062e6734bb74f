"""A Slurm cluster of this machine's own, on loopback, in a folder, as the user who runs the tests."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.absent import absent

CONFIGURATION = """
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdParameters=config_overrides
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
CredType=cred/munge
GresTypes=gpu
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ReturnToService=2
SlurmdTimeout=5
KillWait=10
MinJobAge=7200
InactiveLimit=0
UnkillableStepTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs={cores} RealMemory=100000 Gres=gpu:1
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing():
    """Names the programs that are not installed."""
    return [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=_path())]


def require():
    """Skips the test where Slurm is not installed."""
    if lacking := missing():
        absent(f"no Slurm here, apt-get install slurm-wlm munge: {', '.join(lacking)}")


class Cluster:
    """``environment`` lets programs find the cluster; nodes n0, n1, … each have what Slurm takes for a GPU."""

    def __init__(self, folder, nodes, cores):
        self.folder = Path(folder)
        self.nodes = [f"n{number}" for number in range(nodes)]
        self.environment = {**os.environ, "SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": f"{self.folder}:{_path()}"}
        self._cores = cores
        self._processes = {}

    def start(self):
        ports = _free_ports(1 + len(self.nodes))
        lines = (
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port}"
            for name, port in zip(self.nodes, ports[1:], strict=True)
        )
        text = CONFIGURATION.format(
            folder=self.folder,
            user=getpass.getuser(),
            controller=ports[0],
            cores=self._cores,
            nodes="\n".join(lines),
        )
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")  # Slurm counts it and knows no better.
        (self.folder / "state").mkdir()
        # The executor drops Slurm's variables before it starts a step, also the one that says where this cluster is.
        srun = self.folder / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        files = {name: f"{self.folder}/munge.{name}" for name in ("socket", "log", "seed", "pid")}
        self._run(
            "munged", "munged", "--foreground", "--force", f"--socket={files['socket']}", f"--key-file={key}",
            f"--log-file={files['log']}", f"--seed-file={files['seed']}", f"--pid-file={files['pid']}",
        )  # fmt: skip
        _wait(lambda: Path(files["socket"]).exists())
        self._run("slurmctld", "slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")
        for name in self.nodes:
            self.start_node(name)
        _wait(lambda: self.sinfo() == {"idle": len(self.nodes)})

    def start_node(self, name):
        (self.folder / f"spool-{name}").mkdir(exist_ok=True)
        self._run(name, "slurmd", "-D", "-N", name, "-f", f"{self.folder}/slurm.conf")

    def stop_node(self, name):
        """As if it had lost its power: its processes die with it."""
        numbers = [number for number, node in self.jobs().items() if node == name]
        self._processes[name].kill()
        for process in self._own():
            if any(
                process.says(f"slurmstepd: [{number}.") or process.has(f"SLURM_JOB_ID={number}") for number in numbers
            ):
                process.kill()
        self._processes.pop(name).wait()

    def call(self, *command):
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout.strip()

    def sinfo(self):
        states = self.call("sinfo", "--noheader", "--Node", "--partition=all", "--format=%T").split()
        return {state: states.count(state) for state in states}

    def jobs(self):
        """Numbers of the jobs that run, by node."""
        lines = self.call("squeue", "--noheader", "--states=RUNNING", "--format=%i %N").splitlines()
        return {number: node for number, _, node in (line.partition(" ") for line in lines)}

    def states(self):
        """State of each job, by its number, and how often it was queued again."""
        lines = self.call("squeue", "--noheader", "--states=all", "--Format=JobID,State,RestartCnt").splitlines()
        return {job: (state, int(restarts)) for job, state, restarts in map(str.split, lines)}

    def stop(self):
        for process in self._own():
            process.kill()
        for process in self._processes.values():
            process.wait()

    def _own(self):
        mine = f"SLURM_CONF={self.folder}/slurm.conf"
        found = (_Process(path) for path in Path("/proc").glob("[0-9]*"))
        return [process for process in found if process.has(mine)]

    def _run(self, name, *command):
        log = (self.folder / f"{name}.out").open("w")
        self._processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)


@contextmanager
def cluster(folder, nodes=2, cores=1):
    own = Cluster(folder, nodes, cores)
    try:
        own.start()
        yield own
    finally:
        own.stop()


def _path():
    return os.environ["PATH"] + ":/usr/sbin:/sbin"


def _free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class _Process:
    def __init__(self, path):
        self.number = int(path.name)
        try:
            self.environment = (path / "environ").read_bytes().decode(errors="replace").split("\0")
            self.command = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            self.environment, self.command = [], ""

    def has(self, variable):
        return variable in self.environment

    def says(self, words):
        return self.command.startswith(words)

    def kill(self):
        with suppress(ProcessLookupError):
            os.kill(self.number, signal.SIGKILL)


def _wait(ready, seconds=30):
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster did not start")
        time.sleep(0.1)
