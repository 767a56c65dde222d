#!/usr/bin/env python3
"""What the files in deploy/ promise. Usage: deploy_test.py ROOT [unittest arguments].

The manifests are rendered with `kubectl kustomize` where there is one, else read as they are; the assertions are the
same. What a missing tool keeps from being checked is skipped with a reason."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

ROOT = Path(sys.argv[1])
KUBERNETES = ROOT / "deploy/kubernetes"
SYSTEMD = ROOT / "deploy/systemd"


def rendered():
    if shutil.which("kubectl"):
        done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, check=True)
        return list(yaml.safe_load_all(done.stdout))
    names = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((KUBERNETES / name).read_text())]


def shell(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.objects = {(one["kind"], one["metadata"]["name"]): one for one in rendered()}
        cls.coordinator = cls.objects["Deployment", "pgconvoy-coordinator"]["spec"]
        cls.worker = cls.objects["Job", "pgconvoy-worker"]["spec"]
        cls.pods = {"coordinator": cls.coordinator["template"]["spec"], "worker": cls.worker["template"]["spec"]}

    def test_runs_one_coordinator_and_never_two_during_an_update(self):
        self.assertEqual(self.coordinator["replicas"], 1)
        self.assertEqual(self.coordinator["strategy"], {"type": "Recreate"})

    def test_probes_tell_alive_from_leading(self):
        container = self.pods["coordinator"]["containers"][0]
        self.assertEqual(container["livenessProbe"]["grpc"], {"port": 7071})
        self.assertEqual(container["readinessProbe"]["grpc"],
                         {"port": 7071, "service": "pgconvoy.v1.MigrationService"})
        self.assertEqual(container["args"][container["args"].index("--health-listen") + 1], "0.0.0.0:7071")
        proto = (ROOT / "proto/pgconvoy/v1/migration_service.proto").read_text()
        self.assertIn("package pgconvoy.v1;", proto)
        self.assertIn("service MigrationService {", proto)

    def test_service_selects_the_coordinator(self):
        service = self.objects["Service", "pgconvoy-coordinator"]["spec"]
        labels = self.coordinator["template"]["metadata"]["labels"]
        self.assertLessEqual(service["selector"].items(), labels.items())
        self.assertEqual([port["port"] for port in service["ports"]], [7070])
        names = [port["name"] for port in self.pods["coordinator"]["containers"][0]["ports"]]
        self.assertIn(service["ports"][0]["targetPort"], names)

    def test_workers_are_a_work_queue_job(self):
        self.assertGreater(self.worker["parallelism"], 1)
        self.assertNotIn("completions", self.worker)
        self.assertGreater(self.worker["backoffLimit"], 0)
        self.assertEqual(self.pods["worker"]["restartPolicy"], "Never")
        args = self.pods["worker"]["containers"][0]["args"]
        self.assertTrue(any(arg.startswith("--exit-when-idle=") for arg in args), "or the Job would never end")

    def test_exit_codes_decide_what_the_job_does(self):
        actions = {}
        for rule in self.worker["podFailurePolicy"]["rules"]:
            if "onExitCodes" in rule:
                self.assertEqual(rule["onExitCodes"]["operator"], "In")
                self.assertEqual(rule["onExitCodes"]["containerName"], "worker")
                actions.update({code: rule["action"] for code in rule["onExitCodes"]["values"]})
            else:
                self.assertEqual([one["type"] for one in rule["onPodConditions"]], ["DisruptionTarget"])
                self.assertEqual(rule["action"], "Ignore")
        self.assertEqual(actions, {1: "Count", 3: "FailJob", 64: "FailJob", 69: "Count"})

    def test_pods_have_no_rights(self):
        for name, pod in self.pods.items():
            self.assertFalse(pod["automountServiceAccountToken"], name)
            self.assertFalse(self.objects["ServiceAccount", pod["serviceAccountName"]]["automountServiceAccountToken"])
            self.assertTrue(pod["securityContext"]["runAsNonRoot"], name)
            self.assertGreater(pod["securityContext"]["runAsUser"], 0, name)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, name)
            for container in pod["containers"] + pod.get("initContainers", []):
                context = container["securityContext"]
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]}, name)
                self.assertTrue(context["readOnlyRootFilesystem"], name)
                self.assertFalse(context["allowPrivilegeEscalation"], name)
        self.assertEqual(self.objects["Namespace", "pgconvoy"]["metadata"]["labels"]
                         ["pod-security.kubernetes.io/enforce"], "restricted")
        kinds = {kind for kind, _ in self.objects}
        self.assertFalse(kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})

    def test_resources_are_bounded(self):
        for name, pod in self.pods.items():
            for container in pod["containers"]:
                self.assertIn("memory", container["resources"]["limits"], name)
                self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]), name)

    def test_pods_get_time_to_end(self):
        self.assertGreaterEqual(self.pods["coordinator"]["terminationGracePeriodSeconds"], 30)
        self.assertGreaterEqual(self.pods["worker"]["terminationGracePeriodSeconds"], 120)

    def test_both_sides_show_certificates_and_nobody_else_reads_the_keys(self):
        for name, pod in self.pods.items():
            container = pod["containers"][0]
            env = {one["name"]: one.get("value") for one in container["env"]}
            self.assertNotIn("PGCONVOY_INSECURE", env)
            self.assertNotIn("--insecure", container["args"])
            mount = {one["name"]: one for one in container["volumeMounts"]}["tls"]
            self.assertTrue(mount["readOnly"])
            files = [env["PGCONVOY_TLS_CERT"], env["PGCONVOY_TLS_KEY"], env["PGCONVOY_TLS_CA"]]
            self.assertEqual(files, [mount["mountPath"] + file for file in ("/tls.crt", "/tls.key", "/ca.crt")])
            secret = {one["name"]: one for one in pod["volumes"]}["tls"]["secret"]
            self.assertEqual(secret, {"secretName": f"pgconvoy-{name}-tls", "defaultMode": 0o440})
            self.assertEqual(pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsGroup"])

    def test_secrets_come_by_reference_only(self):
        self.assertNotIn("Secret", {kind for kind, _ in self.objects})
        example = {one["metadata"]["name"]: set(one["stringData"])
                   for one in yaml.safe_load_all((KUBERNETES / "secrets.example.yaml").read_text())}
        used = {}
        for pod in self.pods.values():
            for variable in pod["containers"][0]["env"]:
                if re.search("PASSWORD|CONNINFO|STORE|RECIPIENT", variable["name"]):
                    reference = variable["valueFrom"]["secretKeyRef"]
                    used.setdefault(reference["name"], set()).add(reference["key"])
            for volume in pod["volumes"]:
                if "secret" in volume:
                    used[volume["secret"]["secretName"]] = {"tls.crt", "tls.key", "ca.crt"}
        self.assertEqual(used, example)

    def test_workers_get_what_the_shipped_plan_refers_to(self):
        plan = (ROOT / "plans/isolate-projects.yaml").read_text()
        lines = [line for line in plan.split("\n") if not line.lstrip().startswith("#")]
        wanted = set(re.findall(r"\$\{env:([A-Z_]+)\}", "\n".join(lines)))
        given = {variable["name"] for variable in self.pods["worker"]["containers"][0]["env"]}
        self.assertTrue(wanted)
        self.assertLessEqual(wanted, given)

    def test_backups_outlive_pods(self):
        mounts = {mount["name"]: mount["mountPath"] for mount in self.pods["worker"]["containers"][0]["volumeMounts"]}
        claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"]
                  for volume in self.pods["worker"]["volumes"] if "persistentVolumeClaim" in volume}
        env = {one["name"]: one.get("value") for one in self.pods["worker"]["containers"][0]["env"]}
        self.assertEqual([mounts[name] for name in claims], [env["PGCONVOY_BACKUP_DIR"]])
        for claim in claims.values():
            spec = self.objects["PersistentVolumeClaim", claim]["spec"]
            self.assertEqual(spec["accessModes"], ["ReadWriteMany"])

    def test_network_lets_in_only_what_is_named(self):
        for name, template in ("coordinator", self.coordinator), ("worker", self.worker):
            policy = self.objects["NetworkPolicy", "pgconvoy-" + name]["spec"]
            self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
            self.assertLessEqual(policy["podSelector"]["matchLabels"].items(),
                                 template["template"]["metadata"]["labels"].items())
            for rule in policy["egress"]:
                self.assertTrue(rule["ports"])
        self.assertFalse(self.objects["NetworkPolicy", "pgconvoy-worker"]["spec"].get("ingress"))
        for rule in self.objects["NetworkPolicy", "pgconvoy-coordinator"]["spec"]["ingress"]:
            self.assertEqual([port["port"] for port in rule["ports"]], [7070])
            self.assertTrue(all(peer["podSelector"]["matchLabels"] for peer in rule["from"]))

    def test_kustomize_renders_every_file(self):
        if not shutil.which("kubectl"):
            self.skipTest("kubectl is not installed; the manifests were read unrendered")
        listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
        present = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
        self.assertEqual(set(listed), present)
        for container in self.pods["worker"]["containers"] + self.pods["coordinator"]["containers"]:
            self.assertRegex(container["image"], r"^[a-z.]+/pgconvoy-[a-z]+:\d+\.\d+\.\d+$")


class Images(unittest.TestCase):
    def setUp(self):
        self.stages, name = {}, None
        for line in (ROOT / "deploy/images/Containerfile").read_text().split("\n"):
            match = re.match(r"FROM (\S+) AS (\S+)$", line)
            if match:
                name = match[2]
                self.stages[name] = {"from": match[1], "lines": []}
            elif name:
                self.stages[name]["lines"].append(line)

    def test_has_a_stage_for_each_binary_on_a_base_without_a_compiler(self):
        self.assertEqual(list(self.stages), ["builder", "runtime", "coordinator", "worker", "cli"])
        for name in "coordinator", "worker", "cli":
            self.assertEqual(self.stages[name]["from"], "runtime")
        runtime = " ".join(self.stages["runtime"]["lines"])
        self.assertNotRegex(runtime, r"\bg\+\+ |-dev\b")

    def test_runs_as_nobody_in_particular(self):
        for name, binary in ("coordinator", "pgconvoy-coordinator"), ("worker", "pgconvoy-worker"), ("cli", "pgconvoy"):
            lines = self.stages[name]["lines"]
            self.assertIn("USER 65532:65532", lines)
            self.assertIn(f'ENTRYPOINT ["/usr/local/bin/{binary}"]', lines)
            self.assertIn(f"COPY --from=builder /src/build/release/bin/{binary} /usr/local/bin/", lines)

    def test_builds_from_the_one_package_list(self):
        self.assertIn("COPY deploy/packages/debian.txt /tmp/debian.txt", self.stages["builder"]["lines"])

    def test_worker_has_pg_dump(self):
        self.assertIn("postgresql-client-15", " ".join(self.stages["worker"]["lines"]))


class Units(unittest.TestCase):
    def units(self):
        found = sorted(SYSTEMD.glob("*.service"))
        self.assertEqual([path.name for path in found], ["pgconvoy-coordinator.service", "pgconvoy-worker@.service"])
        return found

    def test_units_are_hardened_and_hold_no_secret(self):
        for path in self.units():
            lines = path.read_text().split("\n")
            for wanted in ("DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes",
                           "PrivateDevices=yes", "CapabilityBoundingSet=", "SystemCallFilter=@system-service"):
                self.assertIn(wanted, lines, path.name)
            self.assertTrue(any(line.startswith("EnvironmentFile=") for line in lines))
            self.assertNotRegex(path.read_text(), r"(?i)password=")

    def test_units_hand_over_certificates(self):
        for path, role in zip(self.units(), ("coordinator", "worker")):
            lines = path.read_text().split("\n")
            for line in (f"LoadCredential=tls.crt:/etc/pgconvoy/tls/{role}.crt",
                         f"LoadCredential=tls.key:/etc/pgconvoy/tls/{role}.key",
                         "LoadCredential=ca.crt:/etc/pgconvoy/tls/ca.crt",
                         "Environment=PGCONVOY_TLS_CERT=%d/tls.crt PGCONVOY_TLS_KEY=%d/tls.key "
                         "PGCONVOY_TLS_CA=%d/ca.crt"):
                self.assertIn(line, lines, path.name)

    def test_units_do_not_restart_what_restarting_cannot_help(self):
        for path in self.units():
            self.assertIn("RestartPreventExitStatus=3 64", path.read_text().split("\n"))

    def test_systemd_accepts_them(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        with tempfile.TemporaryDirectory() as folder:
            for path in self.units():
                # The binaries are not installed where the units expect them.
                copy = Path(folder, path.name)
                copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", path.read_text()))
                done = shell("systemd-analyze", "verify", "--man=no", copy)
                self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
                done = shell("systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", copy)
                self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)


class Binaries(unittest.TestCase):
    """What the compiler's and the linker's hardening leaves to be seen in a program."""

    def each(self):
        folder = Path(os.environ["PGCONVOY_BIN_DIR"])
        for name in "pgconvoy", "pgconvoy-coordinator", "pgconvoy-worker":
            with self.subTest(name):
                yield folder / name

    def test_are_loaded_anywhere_with_what_they_link_bound_and_read_only(self):
        for binary in self.each():
            done = shell("readelf", "--wide", "--file-header", "--program-headers", "--dynamic", binary)
            self.assertRegex(done.stdout, r"Type:\s+DYN \(Position-Independent Executable file\)")
            self.assertRegex(done.stdout, r"GNU_RELRO")
            self.assertRegex(done.stdout, r"\(FLAGS_1\)\s+Flags: NOW PIE")
            self.assertRegex(done.stdout, r"GNU_STACK(\s+0x[0-9a-f]+){5}\s+RW\s")

    def test_watch_the_stack_and_the_functions_that_overrun_it(self):
        for binary in self.each():
            symbols = shell("readelf", "--wide", "--dyn-syms", binary).stdout
            self.assertRegex(symbols, r"__stack_chk_fail@")
            self.assertRegex(symbols, r"__(memcpy|snprintf|fprintf|read|vsnprintf)_chk@")

    def test_take_indirect_jumps_only_to_marked_places(self):
        for binary in self.each():
            self.assertRegex(shell("objdump", "--disassemble=main", binary).stdout, r"<main>:\n.*\sendbr64\n")


class Packages(unittest.TestCase):
    def test_each_package_has_a_purpose_and_a_reason_in_the_documents(self):
        reasons = (ROOT / "docs/dependencies.md").read_text()
        lines = (ROOT / "deploy/packages/debian.txt").read_text().split("\n")
        entries = [line.split() for line in lines if line and not line.startswith("#")]
        self.assertGreater(len(entries), 20)
        for entry in entries:
            self.assertEqual(len(entry), 2, entry)
            self.assertIn(entry[1], ("build", "test"))
            self.assertIn(f"`{entry[0]}`", reasons)
        names = [entry[0] for entry in entries]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
