"""A run's whole life, against a control plane that behaves like AWS's."""

from __future__ import annotations

import json
import stat
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from icehouse.errors import ConflictError, HsmRefusedError, RequestError
from icehouse.trial_cluster import Aws, Wanted
from icehouse.trial_cluster.certificate_files import KEY_FILE, ROOT_FILE
from icehouse.trial_cluster.record import TAG
from servers.aws_clock import ApiError
from servers.cloudhsm_trial import PASSPHRASE, SUBNETS, WANTED, left, never_touched_others


def actions(world):
    return [action for _, action in world.changes]


def test_a_cluster_is_claimed_and_filled(place, world):
    raising = place.up()
    (cluster,) = [each for each in world.hsm.living if each.cluster == raising.record.cluster]

    assert cluster.state == "INITIALIZED"
    assert sorted(hsm.zone for hsm in cluster.hsms) == ["us-east-1a", "us-east-1b"]
    assert {hsm.state for hsm in cluster.hsms} == {"ACTIVE"}


def test_the_teardown_is_armed_before_the_first_hsm(place, world):
    place.up()
    order = actions(world)

    assert order.index("CreateSchedule") < order.index("CreateHsm")
    assert order.count("CreateHsm") == 2


def test_everything_that_is_made_carries_the_tag_of_the_run(place, world):
    run = place.up().record.run
    tags = [
        *(each.tags for each in world.hsm.living if each.cluster == place.record.cluster),
        *({tag["Key"]: tag["Value"] for tag in world.teardowns.roles[f"icehouse-cloudhsm-{run}"].tags},),
        *({tag["Key"]: tag["Value"] for tag in world.teardowns.groups[f"icehouse-cloudhsm-{run}"].tags},),
    ]

    assert [each[TAG] for each in tags] == [run] * 3


def test_up_again_changes_nothing(place, world):
    place.up()
    before = len(world.changes)
    place.up()

    assert len(world.changes) == before


def test_down_leaves_nothing_and_deletes_hsms_first(place, world):
    run = place.up().record.run
    place.down()
    order = actions(world)

    assert left(world) == []
    assert order.index("DeleteHsm") < order.index("DeleteCluster") < order.index("DeleteSchedule")
    assert never_touched_others(world, {run})


def test_down_again_changes_nothing(place, world):
    place.up()
    place.down()
    before = len(world.changes)
    place.down()

    assert len(world.changes) == before


def test_the_root_key_is_kept_encrypted_and_for_its_owner_alone(place):
    place.up()
    path = place.notebook.directory / KEY_FILE
    key = serialization.load_pem_private_key(path.read_bytes(), PASSPHRASE.encode())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    root = x509.load_pem_x509_certificate((path.parent / ROOT_FILE).read_bytes())
    assert root.public_key() == key.public_key()


def test_another_passphrase_is_refused_before_anything_is_asked_for(place, world, monkeypatch):
    place.with_a_key()
    monkeypatch.setattr("servers.cloudhsm_trial.PASSPHRASE", "another one")

    with pytest.raises(RequestError, match="does not open"):
        place.up()
    assert world.changes == []


def test_a_request_that_changed_is_signed_anew(place, world):
    """AWS may replace the first HSM before the cluster is claimed; the new one makes another request."""
    claim = world.hsm.initialize_cluster
    requests = []
    replaced = "CloudHsmInternalFailureException", "the HSM was replaced", 500

    def replace_first(asked):
        cluster = world.hsm.clusters[asked["ClusterId"]]
        requests.append(cluster.csr)
        if len(requests) == 1:
            cluster.csr = another_request()
            raise ApiError(*replaced)
        return claim(asked)

    world.hsm.initialize_cluster = replace_first
    raising = place.up()

    assert world.hsm.clusters[raising.record.cluster].state == "INITIALIZED"
    assert requests[0] != requests[1]


def another_request():
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "HSM:another")])
    key = rsa.generate_private_key(65537, 2048)
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_where_aws_wants_activation_first_the_others_wait_for_it(place, world):
    world.hsm.later_hsms_need_activation = True
    raising = place.up()
    cluster = world.hsm.clusters[raising.record.cluster]

    assert raising.waits_for_activation
    assert len(cluster.hsms) == 1
    world.hsm.activate(cluster.cluster)
    assert not place.up().waits_for_activation
    assert len(cluster.hsms) == 2


def test_a_lost_cluster_is_found_by_its_tag(place, world):
    place.up()
    forgotten = place.notebook.write(replace(place.record, cluster=""))
    again = place.up()

    assert again.record.cluster != forgotten.cluster
    assert actions(world).count("CreateCluster") == 1


def test_a_run_whose_time_is_over_makes_nothing(place, world):
    place.up(Wanted(3600, SUBNETS, 1))
    world.advance(3600 + 3600)

    with pytest.raises(ConflictError, match="time of this run is over"):
        place.up()
    assert world.hsm.billed == []


def test_a_degraded_cluster_is_an_error_and_not_waited_for(place, world):
    place.up()
    world.hsm.clusters[place.record.cluster].state = "DEGRADED"

    with pytest.raises(HsmRefusedError, match="DEGRADED"):
        place.up()


def test_the_record_is_whole_or_refused(place):
    place.up()
    path = place.notebook.directory / "cloudhsm.json"
    document = json.loads(path.read_text())
    bent = [{**document, "version": 2}, {**document, "extra": 1}, {**document, "wanted": {}}, []]

    for each in bent:
        path.write_text(json.dumps(each))
        with pytest.raises(RequestError, match="is not the record"):
            place.notebook.read()


def test_two_at_once_are_refused(place):
    place.up()
    with place.notebook.held(), pytest.raises(ConflictError, match="another icehouse"):
        place.up(aws=Aws(patience=0))
    assert place.record.wanted == WANTED
