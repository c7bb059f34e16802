use super::*;

/// Uses of the C++ library and of newer functions of the C library, as the plugin has them.
const LIBRARY: &str = r#"
#include <chrono>
#include <condition_variable>
#include <cmath>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include "base.h"
struct Derived : Base { int value() override { return 7; } };
extern "C" int cast(Base *base) {
  auto *derived = dynamic_cast<Derived *>(base);
  if (derived != nullptr) return -1;
  std::unique_ptr<Base> own(new Derived);
  return dynamic_cast<Derived *>(own.get())->value();
}
extern "C" int caught() {
  try { throw std::runtime_error(std::string("a text that is too long for a small string")); }
  catch (const std::logic_error &) { return 1; }
  catch (const std::exception &e) { return std::string(e.what()).size() == 42 ? 2 : 3; }
}
extern "C" double waited(double x) {
  std::mutex mutex;
  std::condition_variable condition;
  std::unique_lock<std::mutex> lock(mutex);
  const auto start = std::chrono::steady_clock::now();
  condition.wait_for(lock, std::chrono::duration<double>(x), [] { return false; });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
extern "C" int others() {
  int seen = 0;
  std::once_flag once;
  auto shared = std::make_shared<int>(1);
  std::thread thread([&, shared] { std::call_once(once, [&] { seen = *shared; }); });
  thread.join();
  std::random_device random;
  const bool differs = random() != random() || random() != random();
  const bool folder = std::filesystem::is_directory("/");
  volatile double two = 2;
  return seen + 2 * differs + 4 * folder + 8 * (std::pow(two, 10) == 1024);
}
"#;
const HEADER: &str =
    "struct Base { virtual ~Base() = default; virtual int value() { return 1; } };\n";
const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <cstdio>
#include "base.h"
int main(int, char **argv) {
  void *library = dlopen(argv[1], RTLD_NOW);
  if (library == nullptr) { puts(dlerror()); return 1; }
  Base base;
  auto cast = reinterpret_cast<int (*)(Base *)>(dlsym(library, "cast"));
  auto caught = reinterpret_cast<int (*)()>(dlsym(library, "caught"));
  auto waited = reinterpret_cast<double (*)(double)>(dlsym(library, "waited"));
  auto others = reinterpret_cast<int (*)()>(dlsym(library, "others"));
  const double time = waited(1.2);
  printf("%d %d %d %d\n", cast(&base), caught(), others(), time >= 1.2 && time < 60);
}
"#;

fn link(dir: &Path, name: &str, options: &[String]) -> PathBuf {
    let library = dir.join(name);
    exec::run(
        Command::new("g++")
            .args(["-shared", "-fPIC", "-std=c++17", "-o"])
            .arg(&library)
            .arg(dir.join("library.cc"))
            .args(options)
            .arg("-Wl,--gc-sections"),
    )
    .unwrap();
    library
}

#[test]
fn a_portable_library_needs_an_old_c_library_alone_and_its_exceptions_casts_threads_and_waits_work()
{
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, text) in [
        ("library.cc", LIBRARY),
        ("base.h", HEADER),
        ("program.cc", PROGRAM),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    let plain = link(dir, "plain.so", &[]);
    let refusal = check(&plain).unwrap_err().to_string();
    assert!(refusal.contains("GLIBCXX_"), "{refusal}");
    assert!(refusal.contains("libstdc++.so.6"), "{refusal}");

    let portable = link(
        dir,
        "portable.so",
        &options(&dir.join("portable.so")).unwrap(),
    );
    check(&portable).unwrap();

    let program = dir.join("program");
    exec::run(
        Command::new("g++")
            .arg("-o")
            .arg(&program)
            .arg(dir.join("program.cc"))
            .arg("-ldl"),
    )
    .unwrap();
    let said = exec::output(Command::new(&program).arg(&portable)).unwrap();
    assert_eq!(said.trim(), "7 2 15 1");
}

#[test]
fn every_function_of_the_stand_in_is_led_to() {
    let names = wrapped();
    for name in [
        "pthread_create",
        "__pthread_key_create",
        "__libc_single_threaded",
        "_dl_find_object",
        "stat64",
        "pow",
        "posix_spawn_file_actions_addchdir_np",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"NAME"), "{names:?}");
}
