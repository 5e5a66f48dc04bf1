# Everything but hostile, interop, candle, sharded, slurm, kill, torture, bench, bench-forward and fixtures needs only Go. "make help" lists the targets.

GO          ?= go
FUZZTIME    ?= 30s
TAGS        ?=
SEED        ?= # of random configurations in interop: --seed N, or a fresh one
VERSION      = $(shell .ci/version)
TIME         = $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
LDFLAGS      = -X github.com/griffin-ckpt/griffin/convert.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
NFPM        := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GREMLINS    := github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
MUTATED     ?= formats/tensor convert/moves convert/names convert/model convert/source convert/proof convert/transfer formats/storage formats/storage/publish \
               verify/diff verify/golden verify/runtime verify/logits
PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
VETTED      := linux/arm64 darwin/arm64 windows/amd64
GENERATORS  := convert/internal/avo reference/kernel/avo
PYTHON_ENV  := testdata/interop/python.sh current

.PHONY: build local demo test race instructions lint fuzz cross wheel release hostile interop differential candle sharded slurm kill torture mutants false-alarms bench bench-forward fixtures clean help

build: ## bin/griffin
	CGO_ENABLED=0 $(GO) build -trimpath -tags "$(TAGS)" -ldflags "$(LDFLAGS)" -o bin/griffin ./cmd/griffin

demo: build ## convert and verify a small checkpoint of testdata; writes demo/report.html
	@testdata/demo.sh bin/griffin demo

test: ## all tests
	$(GO) test ./...

# The two tests that are skipped are long, and repeat what others run.
race: ## the shorter tests under the race detector (needs a C compiler); its reports come last
	@dir=$$(mktemp -d); GORACE="log_path=$$dir/report" $(GO) test -race -short -skip '^(TestFaultsAreFound|TestReproducible)$$' -timeout 20m ./...; code=$$?; \
		for report in "$$dir"/*; do if [ -f "$$report" ]; then cat "$$report"; fi; done; rm -rf "$$dir"; exit $$code

# qemu does not say which address of a truncated mapping cannot be read.
instructions: ## the forward pass with each instruction set (needs qemu-aarch64 of qemu-user)
	$(GO) test -tags noasm ./reference/...
	GODEBUG=cpu.avx512f=off $(GO) test -count=1 ./reference/...
	GOARCH=arm64 $(GO) test -exec qemu-aarch64 -skip 'Truncated' ./reference ./reference/kernel

lint: ## gofmt, go vet for each system, staticcheck, go mod tidy, generated assembly, syntax of scripts and GitHub workflows
	@files=$$(gofmt -l . ); if [ -n "$$files" ]; then echo "not gofmt-ed:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	@for platform in $(VETTED); do echo "vet $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) vet -tags nobuckets ./... || exit 1; done
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff
	@for module in $(GENERATORS); do (cd $$module && $(GO) vet ./... && $(GO) test ./...) || exit 1; done
	@before=$$(git ls-files -z '*_a*64.s' '*_a*64.go' | xargs -0 cat | cksum); $(GO) generate ./... || exit 1; \
		if [ "$$before" != "$$(git ls-files -z '*_a*64.s' '*_a*64.go' | xargs -0 cat | cksum)" ]; then echo "assembly was not what its generator writes"; exit 1; fi
	$(GO) run $(ACTIONLINT) .github/workflows/*.yml
	@for script in .ci/run .ci/fuzz .ci/verify .ci/version $$(find testdata -name '*.sh'); do bash -n $$script || exit 1; done

fuzz: ## every fuzz target for FUZZTIME (default 30s)
	@.ci/fuzz $(FUZZTIME)

cross: ## dist/griffin-OS-ARCH for every platform; TAGS=nobuckets leaves gs:// and s3:// out
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/} suffix=; [ $$os = windows ] && suffix=.exe; \
		echo "build $$platform"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -tags "$(TAGS)" -ldflags "$(LDFLAGS)" -o dist/griffin-$$os-$$arch$$suffix ./cmd/griffin || exit 1; \
	done

wheel: build ## a Python wheel for this system in dist/
	rm -f dist/*.whl
	$(GO) run ./cmd/internal/release -version $(VERSION) -time "$(TIME)" -dir dist $$($(GO) env GOOS)/$$($(GO) env GOARCH)=bin/griffin

release: ## archives, packages, wheels and checksums for every platform in dist/release, the same bytes from the same commit
	rm -rf dist/release dist/programs
	@for platform in $(PLATFORMS); do \
		echo "build $$platform"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) build -trimpath -tags "$(TAGS)" -ldflags "-s -w $(LDFLAGS)" \
			-o dist/programs/$$platform ./cmd/griffin || exit 1; \
	done
	@mkdir -p dist/release; for arch in $(patsubst linux/%,%,$(filter linux/%,$(PLATFORMS))); do \
		$(GO) run ./cmd/internal/release -licenses dist/programs/linux/$$arch.licenses linux/$$arch=dist/programs/linux/$$arch || exit 1; \
		for format in deb rpm; do \
		ARCH=$$arch VERSION=$(VERSION) SOURCE_DATE_EPOCH=$(TIME) $(GO) run $(NFPM) package -f .ci/nfpm.yaml -p $$format -t dist/release/griffin-ckpt_$(VERSION:v%=%)_linux_$$arch.$$format || exit 1; \
	done; done
	$(GO) run ./cmd/internal/release -all -version $(VERSION) -time "$(TIME)" -dir dist/release $(foreach p,$(PLATFORMS),$(p)=dist/programs/$(p))

hostile: build ## every hostile sample, and inputs that are made to take long: exit status, time and memory (Python 3); LIMITS=--quick for fewer
	python3 testdata/interop/hostile.py
	python3 testdata/interop/limits.py $(LIMITS)

interop: build ## compare with transformers, orbax, flax, torch and PEFT (Python 3.11; installs 10 GB once)
	testdata/interop/setup_mlx.sh $$(testdata/interop/setup.sh) # two of the checks would install it at the same time
	$(MAKE) --jobs 2 --output-sync=target $(CHECKS:%=check-%)

# Each is a Python process for most of its time: two run side by side, the long ones first.
CHECKS := agree generate capture_check variants interop orbax_write runtimes network_faults weight_files differential \
          quantized departures adapter sharded sinks torch_write network container real_pt digests
check-adapter: ENVIRONMENT = peft
check-quantized: ENVIRONMENT = bitsandbytes
check-digests: ENVIRONMENT = blake3
check-variants check-departures check-quantized check-runtimes: ARGUMENTS = $(SEED)
check-differential: ARGUMENTS = --cases 700 $(SEED)
check-sharded: ARGUMENTS = --quick
check-%: build
	testdata/interop/python.sh $(or $(ENVIRONMENT),current) $*.py $(ARGUMENTS)

local: ## bin/griffin-local, without gs:// and s3://: starts in half the time, for scripts that start it very often
	CGO_ENABLED=0 $(GO) build -trimpath -tags nobuckets -ldflags "$(LDFLAGS)" -o bin/griffin-local ./cmd/griffin

differential: local ## CASES=20000 damaged files, read by griffin and by the libraries (5 minutes; needs the environments of interop)
	GRIFFIN=$(CURDIR)/bin/griffin-local $(PYTHON_ENV) differential.py --cases $(or $(CASES),20000) --rows $(SEED)

candle: build ## what griffin says of candle against candle (needs cargo and the environments of interop; 5 minutes once)
	program=$$(testdata/interop/setup_candle.sh) && $(PYTHON_ENV) runtimes.py --candle $$program

sharded: build ## compare distributed checkpoints with torch and DeepSpeed
	$(PYTHON_ENV) sharded.py
	testdata/interop/python.sh deepspeed sharded.py --deepspeed

slurm: build ## a Slurm array that converts a run in a bucket (Linux, root, slurm-wlm and munge of Debian, Python 3.11)
	$(PYTHON_ENV) slurm.py

kill: build ## 50 conversions killed at random moments (needs the environments of interop)
	testdata/interop/kill.sh 50

torture: local ## every operation and system call of small conversions fails once, or is the last; then differential (Linux, strace; hours)
	GRIFFIN=$(CURDIR)/bin/griffin-local python3 testdata/torture/faults.py $(TORTURE)
	$(GO) test ./convert -run 'Faults|Together' -faults -count 1 -timeout 6h -v
	$(MAKE) differential

mutants: ## mutation testing of the packages MUTATED, each by its own tests (hours): testdata/MUTANTS.md
	@for package in $(MUTATED); do echo "mutants of $$package"; nice -n 19 $(GO) run $(GREMLINS) unleash --workers 2 --timeout-coefficient 5 --output-statuses lct \
		--invert-logical --invert-assignments --threshold-efficacy 90 --exclude-files / ./$$package || exit 1; done

false-alarms: ## how often verify calls a legal run of a model wrong, counted in RUNS=10000 legal runs (20 minutes)
	$(GO) test ./verify/logits -run TestFalseAlarms -falsealarms $(or $(RUNS),10000) -timeout 24h -v

bench: build ## conversion in the 2B size, against cp and a Python script; BENCH='--preset 9b --formats torch' for 9B
	python3 testdata/bench/bench.py $(BENCH)

bench-forward: build ## the forward pass in the 2B size, against transformers; BENCH='--verify --generate 64' for more
	python3 testdata/bench/forward.py $(BENCH)

fixtures: ## make the fixtures in testdata again (needs the environments of interop)
	$(PYTHON_ENV) fixtures.py
	testdata/interop/python.sh peft finetune.py
	testdata/interop/python.sh bitsandbytes quantized.py --fixtures

clean: ## remove what make built
	rm -rf bin dist demo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15
