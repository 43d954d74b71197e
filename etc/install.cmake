# What `cmake --install` and `cpack` put where, besides the program: an example configuration (never over
# one that is there), the systemd units, man pages and documents.
install(TARGETS portcullis RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}
        FILES_MATCHING PATTERN "*.md" PATTERN man EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/etc/examples ${CMAKE_SOURCE_DIR}/etc/prometheus
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
# Compressed as Debian's policy wants it (12.1, 12.7), the same octets each time: no names, no dates.
function(install_compressed from as destination)
  set(packed ${CMAKE_BINARY_DIR}/compressed/${as}.gz)
  install(CODE "
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/compressed)
    execute_process(COMMAND gzip -9nc ${from} OUTPUT_FILE ${packed} COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES ${packed} DESTINATION ${destination})
endfunction()
foreach(section 5 8)
  file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.${section})
  foreach(page ${pages})
    get_filename_component(name ${page} NAME)
    install_compressed(${page} ${name} ${CMAKE_INSTALL_MANDIR}/man${section})
  endforeach()
endforeach()
install_compressed(${CMAKE_SOURCE_DIR}/etc/changelog changelog ${CMAKE_INSTALL_DOCDIR})

# The rest depends on the prefix that is chosen when installing: /etc goes with /usr.
install(CODE "
  set(source [[${CMAKE_SOURCE_DIR}]])
  set(build [[${CMAKE_BINARY_DIR}]])
  set(sbin [[${CMAKE_INSTALL_SBINDIR}]])")
install(CODE [[
  set(sbindir ${CMAKE_INSTALL_PREFIX}/${sbin})
  set(sysconfdir ${CMAKE_INSTALL_PREFIX}/etc)
  set(unitdir ${CMAKE_INSTALL_PREFIX}/lib/systemd/system)
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(sysconfdir /etc)
    set(unitdir /lib/systemd/system)
  endif()
  configure_file(${source}/systemd/portcullis.service.in ${build}/portcullis.service @ONLY)
  file(INSTALL ${build}/portcullis.service ${source}/systemd/portcullis.socket DESTINATION ${unitdir})
  if(NOT EXISTS $ENV{DESTDIR}${sysconfdir}/portcullis/portcullis.toml)
    file(INSTALL ${source}/etc/portcullis.toml DESTINATION ${sysconfdir}/portcullis
         PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
  else()
    message(STATUS "Kept: ${sysconfdir}/portcullis/portcullis.toml")
  endif()
]])

set(CPACK_PACKAGE_NAME portcullis)
set(CPACK_PACKAGE_VENDOR "The Portcullis authors")
set(CPACK_PACKAGE_CONTACT "The Portcullis authors <portcullis@example.com>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "transparent SMTP gateway in front of a mail server")
set(CPACK_PACKAGE_DESCRIPTION "Portcullis stands between mail clients and a legacy mail server: it ends TLS,
authenticates users against LDAP, IMAP or a file, checks that senders are who
they say, limits rates, and relays mail as a stream without a queue of its own.
What it does is shown as metrics for Prometheus and as a journal of JSON lines.")
set(CPACK_GENERATOR DEB)
# Absolute destinations (/etc, /lib) and the prefix of a distribution's package.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION mail)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(GLOB control CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/etc/deb/*)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${control})
# Only the program is needed, not all that "all" builds.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
include(CPack)
