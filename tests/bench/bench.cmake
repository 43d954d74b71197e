# Benchmarks (Google Benchmark): executables bench_*, built with PORTCULLIS_BENCH.
find_package(benchmark REQUIRED)

# add_bench(name LINK libs...): bench/name_bench.cc.
function(add_bench name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(bench_${name} bench/${name}_bench.cc)
  target_link_libraries(bench_${name} PRIVATE ${ARG_LINK} benchmark::benchmark benchmark::benchmark_main)
endfunction()

add_bench(smtp_content LINK pc_smtp)
add_bench(journal LINK pc_metrics)
add_bench(policy LINK pc_policy)

# The load generator of tests/bench/run.
add_executable(bench_load bench/load/client.cc bench/load/load.cc bench/load/main.cc bench/load/result.cc
  bench/load/transport.cc)
target_link_libraries(bench_load PRIVATE pc_smtp boringssl PkgConfig::FMT CLI11::CLI11)
