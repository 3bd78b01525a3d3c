# Writes OUT: the SQLite amalgamation IN with looks (cmake/sqlite/via_sqlite_hooks.h) in the loops that one opcode may run for long.
# SQLite asks its progress handler between opcodes only; a function, a sort or the deletion of a tree runs to its end inside one.
# Every place is found by a short text that must be there exactly as often as it says: another version of SQLite, in which a place
# has changed, is refused here and not built without its look.
file(READ "${IN}" text)
# Brackets and semicolons mean something to CMake's lists; strings do not.
function(look name times anchor replacement)
  string(LENGTH "${text}" before)
  string(REPLACE "${anchor}" "" without "${text}")
  string(LENGTH "${without}" after)
  string(LENGTH "${anchor}" size)
  math(EXPR found "(${before} - ${after}) / ${size}")
  if(NOT found EQUAL times)
    message(FATAL_ERROR "This SQLite has changed where Via looks at the deadline (${name}: found ${found} times, expected ${times}). "
                        "Use the version that scripts/setup fetches, or look at cmake/sqlite_looks.cmake.")
  endif()
  string(REPLACE "${anchor}" "${replacement}" changed "${text}")
  set(text "${changed}" PARENT_SCOPE)
endfunction()

# The end of a statement undoes and frees what it did, and must not be stopped: it is looked at before, and never in it.
look(halt 1 "SQLITE_PRIVATE int sqlite3VdbeHalt(Vdbe *p){"
"static int viaVdbeHalt(Vdbe *p);
SQLITE_PRIVATE int sqlite3VdbeHalt(Vdbe *p){
  int rc;
  (void)VIA_LOOK();
  via_sqlite_quiet++;
  rc = viaVdbeHalt(p);
  via_sqlite_quiet--;
  if( via_sqlite_hooks.halted ) via_sqlite_hooks.halted();
  return rc;
}
static int viaVdbeHalt(Vdbe *p){")

# A sort in memory: when it is stopped, what is left is only strung together.
look(sorter_merge 1 "SRVAL(p1), p1->nVal, SRVAL(p2), p2->nVal
    );

    if( res<=0 ){"
"SRVAL(p1), p1->nVal, SRVAL(p2), p2->nVal
    );
    if( VIA_LOOK_FOR(64 + p1->nVal) ){
      *pp = p1;
      while( p1->u.pNext ) p1 = p1->u.pNext;
      p1->u.pNext = p2;
      break;
    }

    if( res<=0 ){")
look(sorter_sort 1 "    for(i=0; aSlot[i]; i++){"
"    if( VIA_LOOK_FOR(64) ){
      p->u.pNext = aSlot[63];
      aSlot[63] = p;
      p = pNext;
      continue;
    }
    for(i=0; aSlot[i]; i++){")

# Every page of a tree that is deleted.
look(clear_tree 1 "if( (freePageFlag>>1) > BTCURSOR_MAX_DEPTH ){" "if( VIA_LOOK_FOR(4096) ) return SQLITE_INTERRUPT;
  if( (freePageFlag>>1) > BTCURSOR_MAX_DEPTH ){")
look(read_page 1 "static int readDbPage(PgHdr *pPg){"
"static int viaReadDbPage(PgHdr *pPg);
static int readDbPage(PgHdr *pPg){
  if( via_sqlite_hooks.read_page && !via_sqlite_quiet && via_sqlite_hooks.read_page() ) return SQLITE_INTERRUPT;
  return viaReadDbPage(pPg);
}
static int viaReadDbPage(PgHdr *pPg){")

# LIKE and GLOB.
look(match 1 "patternCompare(zB, zA, pInfo, escape)==SQLITE_MATCH);"
"(via_sqlite_hooks.match ? via_sqlite_hooks.match(zB, zA, (const unsigned char*)pInfo, escape)
                                             : patternCompare(zB, zA, pInfo, escape))==SQLITE_MATCH);")

# JSON: each key of a patch is looked for among all of the target; each path walks the document and may move all of it.
look(json_patch 1 "while( iPCursor<iPEnd ){" "while( iPCursor<iPEnd ){
    if( VIA_LOOK() ) return JSON_MERGE_OOM;")
look(json_path 1 "  const char *zKey;
  u8 x;

  if( zPath[0]==0 ){" "  const char *zKey;
  u8 x;

  if( VIA_LOOK() ) return JSON_LOOKUP_ERROR;
  if( zPath[0]==0 ){")

# JSON text that is made: it ends at the length that a value may have, and is looked at between the values that it is made of.
look(json_text 1 "  u64 nTotal = N<p->nAlloc ? p->nAlloc*2 : p->nAlloc+N+10;
  char *zNew;
" "  u64 nTotal = N<p->nAlloc ? p->nAlloc*2 : p->nAlloc+N+10;
  char *zNew;
  if( p->pCtx && p->nUsed+N > (u64)sqlite3_context_db_handle(p->pCtx)->aLimit[SQLITE_LIMIT_LENGTH] ){
    if( p->eErr==0 ) sqlite3_result_error_toobig(p->pCtx);
    p->eErr |= JSTRING_ERR;
    jsonStringReset(p);
    return 1;
  }
")
look(json_value 1 "  switch( sqlite3_value_type(pValue) ){
    case SQLITE_NULL: {
      jsonAppendRawNZ(p, " "  if( p->eErr==0 && VIA_LOOK() ) jsonStringOom(p);
  if( p->eErr ) return;
  switch( sqlite3_value_type(pValue) ){
    case SQLITE_NULL: {
      jsonAppendRawNZ(p, ")

look(concat 1 "  n += (argc-1)*(i64)nSep;
" "  n += (argc-1)*(i64)nSep;
  if( n>sqlite3_context_db_handle(context)->aLimit[SQLITE_LIMIT_LENGTH] ){
    sqlite3_result_error_toobig(context);
    return;
  }
")

# FTS5: every token, every instance of a phrase that is scored or listed.
look(tokens 3 "rc = xToken(pCtx, 0, " "rc = VIA_LOOK_FOR(256) ? SQLITE_INTERRUPT : xToken(pCtx, 0, ")
look(snippet 1 "rc = pApi->xInst(pFts, i, &ip, &ic, &iOff);"
"rc = VIA_LOOK_FOR(64) ? SQLITE_INTERRUPT : pApi->xInst(pFts, i, &ip, &ic, &iOff);")
look(sentences 1 "for(jj=0; jj<(sFinder.nFirst-1); jj++){" "if( VIA_LOOK_FOR(64 + 8*(unsigned)sFinder.nFirst) ){ rc = SQLITE_INTERRUPT; continue; }
          for(jj=0; jj<(sFinder.nFirst-1); jj++){")
look(instances 1 "        if( iBest<0 ) break;
" "        if( iBest<0 ) break;
        if( VIA_LOOK_FOR(64 + 16*(unsigned)nIter) ){ rc = SQLITE_INTERRUPT; break; }
")

file(WRITE "${OUT}.new" "#include \"via_sqlite_hooks.h\"
struct via_sqlite_hooks via_sqlite_hooks;
VIA_THREAD_LOCAL int via_sqlite_quiet;
VIA_THREAD_LOCAL unsigned via_sqlite_work;
#define VIA_LOOK() (via_sqlite_hooks.look && !via_sqlite_quiet && via_sqlite_hooks.look())
/* Asks when about this much was done: some ten units are a nanosecond. */
#define VIA_LOOK_FOR(n) ((via_sqlite_work += (n)) >= 200000 ? (via_sqlite_work = 0, VIA_LOOK()) : 0)
")
file(APPEND "${OUT}.new" "${text}")
file(RENAME "${OUT}.new" "${OUT}")
