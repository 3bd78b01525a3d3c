# The Debian packages, made by cpack (scripts/package): `via`, what a host runs, and `via-dev`, what plugins are built with. What
# only a package has (units, maintainer scripts, /etc) is the component "package", which `cmake --install` leaves out.
set(packaging ${CMAKE_SOURCE_DIR}/packaging)
install(FILES ${packaging}/via.service DESTINATION lib/systemd/system COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${packaging}/via.sysusers DESTINATION lib/sysusers.d RENAME via.conf COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${packaging}/via.tmpfiles DESTINATION lib/tmpfiles.d RENAME via.conf COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${packaging}/server.toml DESTINATION /etc/via COMPONENT package EXCLUDE_FROM_ALL)
install(FILES CHANGELOG.md docs/operator.md docs/security.md docs/errors.md docs/postgres.md DESTINATION share/doc/via
  COMPONENT package EXCLUDE_FROM_ALL)
install(FILES docs/plugin-guide.md docs/plugin-checker.md DESTINATION share/doc/via-dev COMPONENT sdk)

set(CPACK_GENERATOR DEB)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PACKAGE_NAME via)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "Via operators <root@localhost>")
# Plugins are installed as the files that pins.json names: not stripped.
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_COMPONENTS_ALL via package sdk)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)

set(CPACK_DEBIAN_HOST_PACKAGE_NAME via)
set(CPACK_DEBIAN_HOST_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_HOST_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_HOST_PACKAGE_DEPENDS "bubblewrap (>= 0.8), ca-certificates, debconf, init-system-helpers (>= 1.54), systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_HOST_PACKAGE_RECOMMENDS "systemd-sysv, man-db")
set(CPACK_DEBIAN_HOST_PACKAGE_SUGGESTS "postgresql-client, bash-completion")
set(CPACK_DEBIAN_HOST_PACKAGE_CONTROL_EXTRA
  ${packaging}/conffiles ${packaging}/templates ${packaging}/postinst ${packaging}/prerm ${packaging}/postrm)
set(CPACK_COMPONENT_HOST_DESCRIPTION "add-on host: databases and credentials for apps, by binding
Operators create add-ons (managed SQLite and PostgreSQL), apps use them under
stable binding names; the host owns storage, credentials, snapshots and audit.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME via-dev)
set(CPACK_DEBIAN_DEV_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "via (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_PACKAGE_RECOMMENDS "cmake (>= 3.24), g++")
set(CPACK_COMPONENT_DEV_DESCRIPTION "add-on host: SDK for plugins
Headers of the plugin ABI and its C++ wrapper, the CMake package ViaPlugin, and
the conformance checker via-plugin-check.")

include(CPack)
cpack_add_component_group(host)
cpack_add_component_group(dev)
cpack_add_component(via GROUP host)
cpack_add_component(package GROUP host)
cpack_add_component(sdk GROUP dev)
