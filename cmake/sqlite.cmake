# SQLite from the amalgamation, as hidden static copies. Core and each plugin that needs SQLite link one of their
# own: two copies in one process are safe as long as no file is opened by both (docs/architecture.md, "SQLite").
if(NOT EXISTS "${VIA_SQLITE_DIR}/sqlite3.c")
  message(FATAL_ERROR "No SQLite amalgamation in VIA_SQLITE_DIR. Run scripts/setup, or pass -DVIA_SQLITE_DIR=<folder>.")
endif()
file(STRINGS "${VIA_SQLITE_DIR}/sqlite3.h" _v REGEX "#define SQLITE_VERSION_NUMBER")
string(REGEX MATCH "[0-9]+" VIA_SQLITE_VERSION_NUMBER "${_v}")
if(VIA_SQLITE_VERSION_NUMBER LESS 3051003)
  message(FATAL_ERROR "SQLite ${VIA_SQLITE_VERSION_NUMBER} can corrupt a WAL database (WAL-reset bug); 3.51.3 or newer is needed.")
endif()

add_custom_command(
  OUTPUT "${CMAKE_BINARY_DIR}/sqlite/sqlite3.c"
  COMMAND ${CMAKE_COMMAND} -E make_directory "${CMAKE_BINARY_DIR}/sqlite"
  COMMAND ${CMAKE_COMMAND} -DIN=${VIA_SQLITE_DIR}/sqlite3.c -DOUT=${CMAKE_BINARY_DIR}/sqlite/sqlite3.c
          -P ${CMAKE_SOURCE_DIR}/cmake/sqlite_looks.cmake
  DEPENDS "${VIA_SQLITE_DIR}/sqlite3.c" ${CMAKE_SOURCE_DIR}/cmake/sqlite_looks.cmake ${CMAKE_SOURCE_DIR}/cmake/sqlite/via_sqlite_hooks.h
  COMMENT "Putting looks into the SQLite amalgamation" VERBATIM)
add_library(via_sqlite STATIC "${CMAKE_BINARY_DIR}/sqlite/sqlite3.c")
target_include_directories(via_sqlite SYSTEM PUBLIC "${VIA_SQLITE_DIR}")
target_include_directories(via_sqlite PRIVATE "${CMAKE_SOURCE_DIR}/cmake/sqlite")
set_target_properties(via_sqlite PROPERTIES C_VISIBILITY_PRESET hidden C_CLANG_TIDY "")
target_compile_options(via_sqlite PRIVATE -w $<$<CONFIG:Debug>:-O2>)
target_compile_definitions(via_sqlite PUBLIC
  SQLITE_THREADSAFE=2 SQLITE_OMIT_LOAD_EXTENSION SQLITE_ENABLE_COLUMN_METADATA SQLITE_ENABLE_PREUPDATE_HOOK
  SQLITE_ENABLE_SESSION)
target_compile_definitions(via_sqlite PRIVATE
  SQLITE_DQS=0 SQLITE_DEFAULT_FOREIGN_KEYS=1 SQLITE_TRUSTED_SCHEMA=0 SQLITE_TEMP_STORE=3 SQLITE_ENABLE_FTS5
  SQLITE_ENABLE_RTREE SQLITE_ENABLE_MATH_FUNCTIONS SQLITE_PRINTF_PRECISION_LIMIT=100000 SQLITE_DEFAULT_MEMSTATUS=1
  SQLITE_LIKE_DOESNT_MATCH_BLOBS SQLITE_OMIT_DEPRECATED SQLITE_OMIT_SHARED_CACHE SQLITE_USE_ALLOCA
  SQLITE_DEFAULT_WAL_SYNCHRONOUS=2 HAVE_FDATASYNC=1 SQLITE_MAX_VARIABLE_NUMBER=32766)
target_link_libraries(via_sqlite PUBLIC m)
