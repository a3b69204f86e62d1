// Command gaff is the gateway and the tools around it; "gaff --help" lists them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"gaff/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal is left to the system, so a stop that hangs can be ended.
	context.AfterFunc(ctx, stop)
	code := cli.Run(ctx, cli.Env{
		Args: os.Args[1:], Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
