# The rules of the house as tests: what the tree may look like, and that documents and examples are true.
set(PYTHON3 /usr/bin/python3)  # the distribution's, with its own pytest
file(GLOB house_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/house/test_*.py)
foreach(file ${house_tests})
  get_filename_component(name ${file} NAME_WE)
  string(REPLACE test_ house_ name ${name})
  add_test(NAME ${name} COMMAND ${PYTHON3} -m pytest -q -p no:cacheprovider ${file})
  set_tests_properties(${name} PROPERTIES LABELS house)
  if(TARGET portcullis)
    set_property(TEST ${name} PROPERTY ENVIRONMENT PORTCULLIS_BIN=$<TARGET_FILE:portcullis>)
  endif()
endforeach()
