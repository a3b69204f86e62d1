package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Without a token there is no tunnel, and the gateway does not start as if there were.
func TestTunnelNeedsAToken(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"serve", "dev"} {
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, command, "--tunnel", "--addr", addr)
		cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "set NGROK_AUTH_TOKEN") {
			t.Errorf("gaff %s --tunnel: %v\n%s", command, err, out)
		}
	}
}
