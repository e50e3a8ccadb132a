# openhr_msg: realtime messaging inside PostgreSQL
#
#   make                builds both libraries and the install script
#   make install        installs them into the server that pg_config names
#   make check          everything the CI runs (installs what is missing)
#   make check-matrix   the same with PostgreSQL 17 and 18, each in a Debian
#   make demo           a private cluster with sample data and a web chat
#   make bench          the benchmarks, or those in BENCH="..."
#
# The goals in WHOLE need no PostgreSQL to be present when they start: they
# install it first, then come back here for the build.

WHOLE = check check-matrix demo bench

ifneq ($(filter $(WHOLE),$(MAKECMDGOALS)),)

.PHONY: $(WHOLE)
check demo:
	@test/$@
bench:
	@test/bench/run $(BENCH)

else

EXTENSION = openhr_msg
EXTVERSION = 0.1.0

MODULE_big = openhr_msg
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c decoder/*.c)))

# The install script's single source: one file a topic, in this order.
SQL_SOURCES = $(sort $(wildcard sql/[0-9]*.sql))
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = sql/$(EXTENSION)--*.sql

PG_CONFIG ?= pg_config

# -isystem keeps the server's own headers out of -Wextra.
PG_CPPFLAGS = -DMSG_VERSION=\"$(EXTVERSION)\" -I$(srcdir)/src -I$(srcdir)/decoder \
	-isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-declaration-after-statement
# jansson is linked statically and hidden: src/jansson.c says why.
SHLIB_LINK = -Wl,--exclude-libs,libjansson.a -l:libjansson.a -lcrypto

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h decoder/*.h)

$(DATA_built): $(SQL_SOURCES)
	cat $^ > $@

# The workers are a library of their own, so that an ordinary backend maps
# no network code.
all: worker
install: install-worker
clean: clean-worker
.PHONY: worker install-worker clean-worker
worker:
	$(MAKE) -C bgworker all PG_CONFIG=$(PG_CONFIG)
install-worker:
	$(MAKE) -C bgworker install PG_CONFIG=$(PG_CONFIG)
clean-worker:
	$(MAKE) -C bgworker clean PG_CONFIG=$(PG_CONFIG)

endif
