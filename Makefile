# Everything that is done to gaff, by name. `make` alone lists the targets.

GO ?= go
FUZZTIME ?= 60s
ROUNDS ?= 50
SECONDS_OF_HARM ?= 300
EVENTS ?= 5000000

# The binary is stripped, and says what it was built of. Everything comes from the commit, so that
# equal sources give an equal binary. A build without these flags says "devel".
BINARY ?= bin/gaff
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE ?= $(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
BUILDINFO = $(shell $(GO) list ./internal/buildinfo)
# Inlining, alignment and tags make it small (docs/decisions/0031-small-binary.md). tools/release has the same flags.
GCFLAGS = $(foreach p,all=-l $(shell grep -v '^\#' tools/warm-packages),-gcflags=$(p))
TAGS = nopgxregisterdefaulttypes
LDFLAGS = -s -w -funcalign=16 -X $(BUILDINFO).version=$(VERSION) -X $(BUILDINFO).commit=$(COMMIT) -X $(BUILDINFO).date=$(DATE)
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) $(GCFLAGS) -ldflags '$(LDFLAGS)' -o $(BINARY) ./cmd/gaff

# SMALL fails if a binary is over its limit, in MiB.
SMALL = size=$$(wc -c < $(1)); test $$size -le $$(($(2) << 20)) || { echo "$(1) has $$size bytes, its limit is $(2) MiB; see docs/decisions/0031-small-binary.md"; exit 1; }

.PHONY: help build slim size release test acceptance generate viewer screenshots race lint prose vuln module fuzz bench bench-postgres bench-logs bench-console bench-backfill crash cuts fallback-kills crash-cluster crash-failover restore-drill chaos-fal chaos-providers cover clean bench-workflows chaos-workflows

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the static binary, bin/gaff
	$(BUILD)

slim: TAGS = nopgxregisterdefaulttypes,slim
slim: ## build bin/gaff without brokers, tunnel, telemetry, S3 and other extras, a quarter smaller
	$(BUILD)

size: ## build both binaries, and fail if one is larger than its limit
	$(MAKE) build BINARY=bin/gaff
	@$(call SMALL,bin/gaff,48)
	$(MAKE) slim BINARY=bin/gaff-slim
	@$(call SMALL,bin/gaff-slim,38)

test: ## check the form, then run all tests; what they need is installed if missing
	@tools/test-setup.sh
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) test -timeout 20m ./...

# The packages of a version, such as v1.2.0, in dist/. Nothing is uploaded. TARGETS builds for some
# systems only, such as linux/amd64; SIGN is a command that signs SHA256SUMS, such as "gpg --armor --detach-sign".
release: ## make archives, packages, image, bills of materials of VERSION=v1.2.0 in dist/
	GOFLAGS= $(GO) build -C tools/release -trimpath -o $(CURDIR)/bin/release .
	bin/release -root . -out dist -version '$(VERSION)' $(if $(TARGETS),-targets '$(TARGETS)') $(if $(SIGN),-sign '$(SIGN)')

acceptance: ## run gaff with real applications, and as it is installed (packages, image, proxies, chart)
	@tools/test-setup.sh acceptance
	$(GO) test -count=1 -tags acceptance -timeout 30m -run '^TestAcceptance' -v ./internal/e2e

generate: ## make the console's Go files of its markup (*.templ)
	$(GO) tool -modfile=tools/go.mod templ fmt internal/ui internal/inspect
	$(GO) tool -modfile=tools/go.mod templ generate -path internal/ui
	$(GO) tool -modfile=tools/go.mod templ generate -path internal/inspect

viewer: ## bundle the console's 3D view of tools/viewer (npm installs three.js and esbuild)
	tools/viewer/build

screenshots: ## make the pictures of docs/screenshots in a real browser, of gaff dev
	@tools/test-setup.sh
	$(GO) test -count=1 ./internal/ui -run '^TestPictures$$' -pictures $(CURDIR)/docs/screenshots

# Without checkptr: SQLite, translated to Go, gets addresses of Go memory as numbers (store/sqlite/native.go).
race: ## run the tests under the race detector (needs a C compiler)
	@tools/test-setup.sh
	CGO_ENABLED=1 $(GO) test -race -gcflags=all=-d=checkptr=0 -timeout 40m ./...

lint: ## run the pinned linter (the first time builds it)
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

prose: ## print how often comments use phrases that slow readers down
	@$(GO) run ./internal/archtest/prose

vuln: ## look for known vulnerabilities in what gaff links (asks the Go vulnerability database)
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

module: ## rename the Go module, as in make module MODULE=example.org/you/gaff
	@tools/module.sh '$(MODULE)'

fuzz: ## fuzz every parser of what strangers send, FUZZTIME each
	@$(GO) list ./... | while read pkg; do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# VS names another gaff binary: both are measured in turns, and ratios printed.
VS ?=
BENCH = $(GO) run ./internal/bench -gaff bin/gaff $(if $(VS),-vs $(VS))

bench: build ## measure against a bare server in the same run, and against the binary VS; see docs/benchmarks.md
	$(BENCH)
	$(GO) run ./internal/bench -workflows 10000
	$(GO) test -run '^$$' -bench '^BenchmarkVerify$$' -benchtime 0.5s ./verify
	$(GO) test -run '^$$' -bench '^BenchmarkManySources$$' -benchtime 0.5s ./internal/app

bench-postgres: build ## the same on PostgreSQL, with one, two and three nodes
	$(BENCH) -postgres

bench-logs: build ## fill both stores with EVENTS events, and measure queries while more come in
	$(GO) run ./internal/bench -gaff bin/gaff -logs $(EVENTS)

bench-console: build ## fill a store with EVENTS events, and measure the first paint of the console's pages in Chromium
	@tools/test-setup.sh
	$(GO) run ./internal/bench -gaff bin/gaff -console $(EVENTS)

bench-backfill: build ## measure replies with and without a replay of 100,000 events, in one run
	$(GO) run ./internal/bench -gaff bin/gaff -backfill 100000

bench-workflows: ## measure 10,000 runs of a workflow of three steps; part of bench
	$(GO) run ./internal/bench -workflows 10000

chaos-workflows: ## a storyboard of 30 scenes, providers that misbehave, the gateway killed five times
	GAFF_CHAOS_SCENES=30 GAFF_CHAOS_KILLS=5 $(GO) test -count=1 -timeout 10m -run '^TestWorkflowChaos$$' -v ./internal/e2e

fallback-kills: ## kill the gateway ROUNDS times around failures and the submits that follow them, on both stores
	GAFF_FALLBACK_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 60m -run '^TestFallbackKills$$' -v ./internal/e2e

crash: ## kill the gateway under load, ROUNDS times, and count what is lost or doubled
	GAFF_CRASH_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 60m -run '^Test(Crash|ArchiveCrash)' -v ./internal/e2e

CUTS ?= 1000
SEED ?= 1

cuts: ## cut the power at CUTS places of a recorded run, seeded by SEED, and look for what was acknowledged
	GAFF_CUTS=$(CUTS) GAFF_CUTS_SEED=$(SEED) $(GO) test -count=1 -timeout 60m -run '^TestPowerCuts' -v ./internal/e2e ./internal/powercut

crash-cluster: ## kill three nodes and their PostgreSQL at random for SECONDS_OF_HARM, and count
	GAFF_CLUSTER_SECONDS=$(SECONDS_OF_HARM) $(GO) test -count=1 -timeout 60m -run '^TestClusterCrash' -v ./internal/e2e

FAILOVERS ?= 5

crash-failover: ## kill PostgreSQL's primary under load and promote its synchronous standby, FAILOVERS times, and count
	GAFF_FAILOVERS=$(FAILOVERS) $(GO) test -count=1 -timeout 60m -run '^TestFailoverCrash' -v ./internal/e2e

restore-drill: ## back a busy gateway up with its files, lose its machine, restore it, and count
	$(GO) test -count=1 -timeout 30m -run '^Test(RestoreDrill|Backup|DamagedBackup)' -v ./internal/e2e

JOBS ?= 2000
KILLS ?= 10

chaos-fal: ## JOBS jobs through a stand-in for fal that loses webhooks, the gateway killed KILLS times
	GAFF_CHAOS_JOBS=$(JOBS) GAFF_CHAOS_KILLS=$(KILLS) $(GO) test -count=1 -timeout 30m -run '^TestChaosFal' -v ./internal/e2e

chaos-providers: ## JOBS jobs at ten providers of the catalogue that misbehave, the gateway killed KILLS times
	GAFF_CHAOS_JOBS=$(JOBS) GAFF_CHAOS_KILLS=$(KILLS) $(GO) test -count=1 -timeout 30m -run '^TestChaosProviders' -v ./internal/e2e

cover: ## write a coverage profile, cover.out
	@tools/test-setup.sh
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -1

clean: ## remove what was built
	rm -rf bin dist cover.out
