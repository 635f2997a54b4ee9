#!/usr/bin/env bash
# start_slurm.sh DIR: a SLURM of one node on this machine, its files below DIR. Its users need SLURM_CONF=DIR/slurm.conf.
set -euo pipefail
folder=$1
host=$(hostname -s)
user=$(id -un)
memory=$(awk '/MemTotal/ {print int($2 / 2048)}' /proc/meminfo)
mkdir -p "$folder"/{state,spool,log,munge}
chmod 711 "$folder" "$folder/munge"

cat > "$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
# Without control groups, which a container may not have.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
# A job that is cancelled has so many seconds left, in which its training goes on.
KillWait=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END

head -c 1024 /dev/urandom > "$folder/munge/munge.key"
chmod 400 "$folder/munge/munge.key"
munged --force --key-file="$folder/munge/munge.key" --socket="$folder/munge/munge.socket" \
  --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
export SLURM_CONF="$folder/slurm.conf"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 30); do
  sinfo --noheader --format=%t 2> /dev/null | grep -q idle && exit 0
  sleep 1
done
echo "the node did not become idle: $(sinfo 2>&1 | tail -1)" >&2
exit 1
