# Our readers against other people's.
add_executable(differential_authors differential/authors_main.cc)
target_link_libraries(differential_authors PRIVATE pc_smtp)
add_test(NAME differential_authors COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/differential/authors.py
         $<TARGET_FILE:differential_authors>)
