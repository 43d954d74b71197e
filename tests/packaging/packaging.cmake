# How the released program is compiled, looked at from outside.
add_executable(hardening_probe EXCLUDE_FROM_ALL packaging/hardening_probe.cc)
target_link_libraries(hardening_probe PRIVATE portcullis_options)
add_test(NAME packaging_hardening
         COMMAND ${PYTHON3} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/packaging/test_hardening.py)
