# Work that grows with the square of what a client sends is an attack. Instructions are counted by valgrind,
# which cannot run what the sanitizers instrumented: `ctest --test-dir build/release -R growth`.
if(NOT PORTCULLIS_SANITIZE)
  add_executable(growth growth/growth.cc proxy/session/harness.cc)
  target_link_libraries(growth PRIVATE pc_session)
  add_test(NAME growth COMMAND ${PYTHON3} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/growth/test_growth.py)
  set_property(TEST growth PROPERTY ENVIRONMENT GROWTH_BIN=$<TARGET_FILE:growth>)
endif()
