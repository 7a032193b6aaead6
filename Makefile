# Names for commands that also work without make.

.PHONY: test race lint sim ci build

build:
	go build ./...

test:
	go test ./...

race:
	go test -race -short ./...

lint:
	go test ./internal/dev/lint

sim:
	go run ./cmd/starling sim --from 1 --seeds 100

ci:
	.ci/run
