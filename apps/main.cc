// The program: one subcommand a file.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/options.h"

int main(int argc, char** argv) {
  using namespace spate::apps;    // NOLINT(google-build-using-namespace): the program's own
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), not of the process
  CLI::App program("Spate: an inference engine for large language models", "spate");
  program.set_version_flag("--version", "spate " SPATE_VERSION);
  program.require_subcommand(1);
  int exit_code = kDone;
  add_run(program, exit_code);
  add_chat(program, exit_code);
  add_batch(program, exit_code);
  add_score(program, exit_code);
  add_bench(program, exit_code);
  add_inspect(program, exit_code);
  add_tokenize(program, exit_code);
  add_doctor(program, exit_code);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    exit_code = program.exit(e) == 0 ? kDone : kWrongUsage;
  } catch (const std::system_error& e) {  // fmt::print, when stdout is full or closed
    return fail({spate::ErrorCode::kIo, std::string("standard output: ") + e.what()});
  }
  if (std::fflush(stdout) == 0 || exit_code != kDone) return exit_code;
  return fail({spate::ErrorCode::kIo, std::string("standard output: ") + std::strerror(errno)});
}
