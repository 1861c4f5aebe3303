"""Who a process is, by what its environment says, as Slurm, Kubernetes and the hosts of a TPU write it."""

from __future__ import annotations

import pytest

from carrara.core.errors import ConfigurationError
from carrara.training.cluster.resolvers import resolve
from carrara.training.cluster.spec import ClusterSpec

SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_JOB_NODELIST": "node[08-10],gpu",
    "SLURM_TASKS_PER_NODE": "2,1(x3)",
    "SLURM_NTASKS": "5",
}
KUBERNETES = {
    "JOB_COMPLETION_INDEX": "2",
    "HOSTNAME": "late-training-2",
    "CARRARA_CLUSTER_JOBS": "ps=1,worker=2",
    "CARRARA_CLUSTER_SERVICE": "trainers",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
}


def test_tf_config_says_all():
    cluster = ClusterSpec({"ps": ["a:1"], "worker": ["b:1", "c:1"]})
    place = resolve({"TF_CONFIG": cluster.tf_config("worker", 1), **SLURM})
    assert (place.cluster.as_dict(), place.job, place.number) == (cluster.as_dict(), "worker", 1)


def test_processes_of_slurm_are_workers_or_what_is_said():
    place = resolve(SLURM)
    assert place.cluster.as_dict() == {
        "worker": ["node08:2222", "node08:2223", "node09:2222", "node10:2222", "gpu:2222"]
    }
    assert (place.job, place.number) == ("worker", 3)
    place = resolve({**SLURM, "CARRARA_CLUSTER_JOBS": "ps=2,worker=3", "CARRARA_CLUSTER_PORT": "7000"})
    assert place.cluster.as_dict() == {
        "ps": ["node08:7000", "node08:7001"],
        "worker": ["node09:7000", "node10:7000", "gpu:7000"],
    }
    assert (place.job, place.number) == ("worker", 1)


def test_the_pods_of_an_indexed_job_find_one_another_by_their_service():
    place = resolve(KUBERNETES)
    assert place.cluster.as_dict() == {
        "ps": ["late-training-0.trainers:2222"],
        "worker": ["late-training-1.trainers:2222", "late-training-2.trainers:2222"],
    }
    assert (place.job, place.number) == ("worker", 1)


def test_the_hosts_of_a_tpu_are_workers():
    place = resolve({"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "t1v-w-0,t1v-w-1", "TPU_SKIP_MDS_QUERY": "true"})
    assert place.cluster.as_dict() == {"worker": ["t1v-w-0:2222", "t1v-w-1:2222"]}
    assert (place.job, place.number) == ("worker", 1)


@pytest.mark.parametrize("more", [{"HOSTNAME": "b.zone.internal"}, {"HOSTNAME": "b"}, {"CARRARA_CLUSTER_TASK": "1"}])
def test_a_machine_finds_itself_in_a_list_of_hosts(more):
    listed = {"CARRARA_CLUSTER_HOSTS": "a, b.zone.internal,c:7000", "CARRARA_CLUSTER_JOBS": "ps=1,worker=2"}
    place = resolve({**SLURM, **listed, **more})
    assert place.cluster.as_dict() == {"ps": ["a:2222"], "worker": ["b.zone.internal:2222", "c:7000"]}
    assert (place.job, place.number) == ("worker", 0)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "nothing tells which task"),
        ({**SLURM, "SLURM_TASKS_PER_NODE": "2,1"}, "Slurm names 4 nodes"),
        ({**SLURM, "CARRARA_CLUSTER_JOBS": "ps=1,worker=2"}, "counts 3 tasks, and there are 5 processes"),
        ({**SLURM, "CARRARA_CLUSTER_JOBS": "two"}, "is 'two', and such as ps=1,worker=3 is expected"),
        ({"CARRARA_CLUSTER_HOSTS": "a,b", "HOSTNAME": "c"}, "names a, b, and this machine is c"),
        (
            {"CARRARA_CLUSTER_HOSTS": "a", "CARRARA_CLUSTER_TASK": "1"},
            "this process is number 1, and there are 1, from 0",
        ),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": ""}, "TPU_WORKER_ID is '', and the number"),
        ({"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "late-0"}, "needs CARRARA_CLUSTER_JOBS"),
    ],
)
def test_what_does_not_fit_is_said(environment, said):
    with pytest.raises(ConfigurationError, match=said):
        resolve(environment)
