# Every command of the project. The toolchain comes through the Go module proxy, whatever `go` is on PATH (>= 1.21).
export GOTOOLCHAIN := go1.27.4+auto
export CGO_ENABLED ?= 0

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
BIN      := bin/millrun
TOOLS    := bin/tools
LINTER   := $(TOOLS)/golangci-lint
LINTER_VERSION := v2.15.0
BENCH_DIR ?= /tmp/bench
REAL_DIR := .millrun-real
DEMO_DIR := .millrun-demo
SOURCES   = $(shell find . -name '*.go' -not -path './.*' -not -path './bin/*') go.mod go.sum

.PHONY: help build demo test sim canaries crash conformance oracle cover lint fmt bench bench-micro bench-models real real-stop clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

build: $(BIN) ## bin/millrun

$(BIN): $(SOURCES) $(shell find . -name '*.sql' -o -name '*.avsc' -o -name '*.yaml' | grep -v '^./\.')
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/millrun

# ONCE=1 ends after the story; REAL=1 tells it against Apache Kafka and PostgreSQL, which `make real` starts.
demo: build ## the whole story on embedded parts, on real photographs (ONCE=1 exits after it, REAL=1 takes Apache Kafka)
	@go mod download golang.org/x/image
	$(if $(REAL),@$(MAKE) --no-print-directory real)
	@ximage=$$(go list -m -f '{{.Dir}}' golang.org/x/image) && goroot=$$(go env GOROOT) && \
	$(BIN) demo $(if $(ONCE),--once) $(if $(REAL),--real --config $(REAL_DIR)/config.yaml) --dir $(DEMO_DIR) --log-level warn \
		--images "$$ximage/testdata" --images "$$goroot/src/image/testdata" --images "$$goroot/src/image/png/testdata"

# The race detector needs a C compiler; without one the tests run without it, and say so. The rig of real components is
# shared by all packages and gone when the last test is.
test: ## all tests, with the race detector
	@race=-race; export CGO_ENABLED=1; \
	if ! command -v $${CC:-cc} >/dev/null 2>&1; then race=; export CGO_ENABLED=0; echo "no C compiler: without the race detector"; fi; \
	go run ./internal/real/cmd/real test -- go test $$race -count=1 -timeout 30m $(TESTFLAGS) ./... && \
	CGO_ENABLED=0 GOMEMLIMIT=3GiB stream/internal/sim/chunks.sh 1 500

# SEEDS=a..b: each chooses an application, its input and its faults. A failure prints the command that repeats it.
sim canaries: export GOMEMLIMIT = 3GiB
sim: ## simulate applications under faults in virtual time (SEEDS=1..500)
	go test -count=1 -tags synctests -timeout 24h -run '^TestSimulation$$' ./stream/internal/sim -args -seeds=$(if $(filter file,$(origin SEEDS)),1..500,$(SEEDS))

# One run is one guarantee: exactly_once (the default), at_least_once or exact_state. GUARANTEE, PROTOCOL, STORE, SEED, RECORDS, KILLS, STOPS, BOUNCES, CUTS and RESTARTS are passed on
# when given; FLAGS takes any other flag (FLAGS=--help lists them). A failure keeps all logs and prints the command that repeats it.
crash: ## workers and Apache Kafka killed, stopped and cut off; what came out recomputed (GUARANTEE=, KILLS=, RECORDS=, SEED= ...)
	@mkdir -p bin
	@go build -o bin/crash ./crash/cmd/crash
	@nice bin/crash $(if $(GUARANTEE),--guarantee=$(GUARANTEE)) $(if $(PROTOCOL),--protocol=$(PROTOCOL)) $(if $(STORE),--store=$(STORE)) \
		$(if $(SEED),--seed=$(SEED)) $(if $(RECORDS),--records=$(RECORDS)) $(if $(KILLS),--kills=$(KILLS)) $(if $(STOPS),--stops=$(STOPS)) \
		$(if $(BOUNCES),--bounces=$(BOUNCES)) $(if $(CUTS),--cuts=$(CUTS)) $(if $(RESTARTS),--restarts=$(RESTARTS)) $(FLAGS)

# TRIALS is how often each bug is planted anew; the figures are the median and the most seeds until it is caught.
canaries: ## plant bugs in the library that the simulation must catch (TRIALS=5)
	go test -count=1 -tags synctests -timeout 24h -v -run '^TestCanaries$$' ./stream/internal/sim -args -trials=$(or $(TRIALS),5)

cover: ## statement coverage of the library
	@mkdir -p bin
	go test -count=1 -coverpkg=./stream/... -coverprofile=bin/cover.out ./stream/... > /dev/null
	@go tool cover -func=bin/cover.out | tail -1

# The test's own binary, so that the last line is the runner's. A relative CONFORMANCE_DIR is below the module's root.
conformance: ## every recorded answer of Kafka Streams; CONFORMANCE_DIR=<folder> takes another set than the packed one, CONFORMANCE_STORES=disk keeps stores on disk
	@mkdir -p bin
	@go test -c -o bin/conformance.test ./conformance
	@cd conformance && ../bin/conformance.test -test.run '^TestConformance$$'

# SEEDS=7..12 records six vectors of each topology that are in no set, from Kafka Streams itself.
SEEDS ?= 7..8
oracle: ## record fresh vectors from Apache Kafka Streams (SEEDS=a..b; Java 17, Maven) and replay them
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && mkdir "$$dir/state" && \
	mvn -q -B -Dstyle.color=never -f conformance/generator/pom.xml compile exec:java -Dstate.root="$$dir/state" \
		-Dexec.args="$$dir $(subst .., ,$(SEEDS)) vectors,descriptions,formats" && \
	$(MAKE) --no-print-directory conformance CONFORMANCE_DIR="$$dir"

lint: $(LINTER) ## every linter, built by this toolchain; module files tidy
	go vet ./...
	$(LINTER) run ./...
	go mod tidy -diff
	cd bench && go mod tidy -diff && go vet ./...

$(LINTER):
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)

fmt: $(LINTER) ## format the sources
	$(LINTER) fmt ./...

# An hour or two: every model tried 100,000 times, and 200 random topologies with 2,000 records under each setting.
bench-models: ## the models of the library, 100,000 runs each (MODEL_CHECKS=n), and the metamorphic test in full
	MODEL_CHECKS=$${MODEL_CHECKS:-100000} go test -count=1 -timeout 6h -run "$$(grep -l rapid.Check $$(git ls-files 'stream/*_test.go' 'stream/**/*_test.go') | xargs awk '/^func Test/ {name = $$2; sub(/\(.*/, "", name)} /rapid\.Check\(/ {print "^" name "$$"}' | sort -u | paste -sd '|')" ./stream/...
	METAMORPHIC_RUNS=200 METAMORPHIC_RECORDS=2000 go test -count=1 -timeout 2h -v -run TestNoSettingChangesTheAnswer ./stream/internal/metamorphic

bench: ## this library, franz-go by hand, Kafka Streams and goka on the same work (WORKLOADS, PEERS, RUNS, SCALE)
	BENCH_DIR=$(BENCH_DIR) bench/bench.sh

bench-micro: ## the benchmarks of single operators, allocations reported
	go test -run '^$$' -bench . -benchmem ./stream/...

real: ## start Apache Kafka, Azurite and PostgreSQL without Docker
	go run ./internal/real/cmd/real start --dir $(REAL_DIR)

real-stop: ## stop what `make real` started
	go run ./internal/real/cmd/real stop --dir $(REAL_DIR)

clean: ## remove what was built and what the demo left
	rm -rf bin .millrun $(DEMO_DIR) $(REAL_DIR)
