# End-to-end tests: one ctest a file, against real servers and clients of Debian's packages.
set(PYTHON3 /usr/bin/python3)  # the distribution's, with its own pytest
file(GLOB e2e_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/e2e/test_*.py)
foreach(file ${e2e_tests})
  get_filename_component(name ${file} NAME_WE)
  string(REPLACE test_ e2e_ name ${name})
  add_test(NAME ${name} COMMAND ${PYTHON3} -m pytest -q -p no:cacheprovider ${file})
  set_tests_properties(${name} PROPERTIES LABELS e2e TIMEOUT 300)
  if(TARGET portcullis)
    set_property(TEST ${name} PROPERTY ENVIRONMENT PORTCULLIS_BIN=$<TARGET_FILE:portcullis>)
  endif()
endforeach()
