# Benchmarks (Google Benchmark): executables bench_*, built with PORTCULLIS_BENCH.
find_package(benchmark REQUIRED)

# add_bench(name LINK libs...): bench/name_bench.cc.
function(add_bench name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(bench_${name} bench/${name}_bench.cc)
  target_link_libraries(bench_${name} PRIVATE ${ARG_LINK} benchmark::benchmark benchmark::benchmark_main)
  add_test(NAME bench_${name} COMMAND bench_${name} --benchmark_min_time=0.001)
endfunction()

add_bench(smtp_content LINK pc_smtp)
add_bench(journal LINK pc_metrics)
add_bench(policy LINK pc_policy)

# The load generator of tests/bench/run.
add_executable(bench_load bench/load/client.cc bench/load/load.cc bench/load/main.cc bench/load/result.cc
  bench/load/transport.cc)
target_link_libraries(bench_load PRIVATE pc_smtp boringssl PkgConfig::FMT CLI11::CLI11)

# That they still run, without the peers; nothing is timed here.
add_test(NAME bench_run COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/bench/run lockstep pipelined new-tls --rounds 1 --scale 0.01
  --peers "" --build ${CMAKE_BINARY_DIR})
