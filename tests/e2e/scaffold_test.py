#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ephor plugin new`: what it makes is built against an installed SDK, passes its own tests, and answers over
HTTP, in both languages; what it refuses stays as it was."""
import json
import os
import shutil
import subprocess

from ephor_e2e import BUILD, EPHOR, PATIENCE_S, Host, TestCase, cli, main

LANGUAGES = {"c++": "cpp", "c": "c"}
# Other build directories hold the same projects: the compiler's cache makes them cheap.
CACHE = {f"CMAKE_{one}_COMPILER_LAUNCHER": "ccache" for one in ("C", "CXX")} if shutil.which("ccache") else {}
HAS_CHECK = subprocess.run([str(EPHOR), "plugin", "check", "--list"], capture_output=True).returncode == 0


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=4 * PATIENCE_S, env={**os.environ, **CACHE, **more.pop("env", {})}, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                             f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


class Scaffold(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "sdk")

    def make(self, name, language):
        cli("plugin", "new", name, "--lang", language, cwd=self.folder)
        return self.folder / name

    def build(self, project, folder, *more):
        run("cmake", "-S", project, "-B", project / folder, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", f"-DEPHOR_PROGRAM={EPHOR}", *more)

    def a_project_lives(self, language):
        name = f"my_{LANGUAGES[language]}_counter"
        project = self.make(name, language)
        self.build(project, "b", "-DCMAKE_BUILD_TYPE=Debug")
        run("cmake", "--build", project / "b")
        some = [] if HAS_CHECK else ["--exclude-regex", "plugin_check"]
        if not HAS_CHECK:
            print("SKIPPED: there is no `ephor plugin check` yet", flush=True)
        run("ctest", "--test-dir", project / "b", "--output-on-failure", "--no-tests=error", *some)

        def line(topic, number):
            return json.dumps({"specversion": "1.0", "id": f"{topic}-{number}", "source": "me", "type": topic,
                               "time": f"2024-01-01T00:00:{number:02}Z", "data": {}}).encode()

        before = os.getcwd()
        os.chdir(project)  # plugin_path of its configuration begins here
        try:
            config = project / f"{name}.yaml"
            with Host(project / "data", config=config) as host:
                last = host.post_all([line("mine.one", i) for i in range(3)] + [line("mine.two", 4)],
                                     connections=1)["last_sequence"]
                answer = host.get(f"/api/{name}/counts", after_sequence=last)
                mine = {topic: count for topic, count in answer["topics"].items() if topic.startswith("mine.")}
                self.assertEqual(mine, {"mine.one": 3, "mine.two": 1})
                self.assertEqual(answer["events"], sum(answer["topics"].values()))
                self.assertEqual(list(answer["topics"]), sorted(answer["topics"]))
            with Host(project / "data", f"plugins.{name}.config.topics=mine.two", config=config) as host:
                last = host.post_all([line("mine.one", 7), line("mine.two", 8)], connections=1)["last_sequence"]
                answer = host.get(f"/api/{name}/counts", after_sequence=last)
                # The state came back, and the configuration is obeyed.
                self.assertEqual((answer["topics"]["mine.one"], answer["topics"]["mine.two"]), (3, 2))
                self.assertEqual(host.query(f"{name}.counts"), answer)
            refused = cli("check", "--config", config, "--set", f"plugins.{name}.config.topics=a..b", code=2)
            self.assertIn(f"plugins.{name}.config.topics", refused.stderr)
        finally:
            os.chdir(before)
        return project, name

    def test_a_cpp_project_lives(self):
        project, name = self.a_project_lives("c++")
        if shutil.which("dpkg-deb"):
            run("cpack", "--config", "b/CPackConfig.cmake", cwd=project)
            package, = project.glob("*.deb")
            self.assertTrue(package.name.startswith(f"ephor-plugin-{name.replace('_', '-')}_0.1.0_"), package.name)
            content = run("dpkg-deb", "--contents", package).stdout.split()
            self.assertEqual([path for path in content if path.endswith(".so")], [f"./usr/lib/ephor/plugins/{name}.so"])
            self.assertIn("ephor,", run("dpkg-deb", "--field", package, "Depends").stdout)
        # Its CI script, as a machine calls it, and the other compiler.
        run(project / ".ci" / "run", self.prefix, cwd="/")
        if not shutil.which("clang++"):
            print("SKIPPED: no clang++", flush=True)
            return
        self.build(project, "b-clang", "-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_BUILD_TYPE=Debug")
        run("cmake", "--build", project / "b-clang")

    def test_a_c_project_lives(self):
        project, name = self.a_project_lives("c")
        for compiler in filter(shutil.which, ("gcc", "clang")):
            for standard in ("c11", "c17"):
                run(compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fPIC",
                    f"-I{self.prefix}/include", "-c", project / "src" / f"{name}.c", "-o", os.devnull)

    def test_the_code_is_formatted_whatever_the_name(self):
        if not shutil.which("clang-format"):
            self.skipTest("no clang-format")
        for name in ("a", "two_words", "abcdefghijklmnopqrstuvwxyz_12345"):
            for language in LANGUAGES:
                project = self.make(name, language)
                sources = [path for path in project.rglob("*") if path.suffix in (".c", ".cpp", ".h", ".hpp")]
                self.assertGreaterEqual(len(sources), 3)
                run("clang-format", "--dry-run", "--Werror", *sources)
                shutil.rmtree(project)

    def test_what_is_refused(self):
        folder = self.folder / "refused"
        folder.mkdir()
        (folder / "taken").mkdir()
        (folder / "taken" / "file").write_text("mine")
        for words, code, expected in (
                (["My-Plugin"], 2, "found the name \"My-Plugin\", expected"),
                (["taken"], 2, "expected no or an empty folder"),
                (["mine", "--lang", "rust"], 2, "--lang: found rust, expected c++ or c"),
                ([], 2, "expected one NAME"),
                (["a", "b"], 2, "expected one NAME"),
                (["nowhere/mine"], 1, "nowhere")):
            done = cli("plugin", "new", *words, cwd=folder, code=code)
            self.assertIn(expected, done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["taken"])
        self.assertEqual((folder / "taken" / "file").read_text(), "mine")


if __name__ == "__main__":
    main()
