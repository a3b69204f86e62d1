package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"gaff/internal/buildinfo"
	"gaff/internal/mcp"
)

// maxMCPAnswer bounds an answer of the API that a tool reads, in bytes.
const maxMCPAnswer = 8 << 20

func (p *program) mcpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mcp", Short: "Serve tools for an agent (Model Context Protocol) by standard input and output",
		Long: `Serve tools for an agent by the Model Context Protocol: search events, explain failures, list and submit jobs, costs,
retry and replay with confirmation. The agent's program starts this command and talks to it by standard input and output.
The tools call the API of a running gateway with the token, so give the agent a key of its own: its role, scope and rate
hold, and the audit log names it. The gateway serves the same tools by HTTP at /mcp. See docs/agents.md.`,
		Example: `  gaff keys create agent --role viewer
  GAFF_URL=https://gaff.example.com GAFF_TOKEN=gaff_… gaff mcp`,
		Args: arguments(0, 0, ""),
	}
	cmd.RunE = work(func(ctx context.Context, _ []string) error {
		c, err := p.dial()
		if err != nil {
			return err
		}
		return mcp.Serve(ctx, buildinfo.Get().Version, c.ask)
	})
	p.clientFlags(cmd)
	return cmd
}

// ask makes a call for a tool. An answer other than 2xx is not an error.
func (c *client) ask(ctx context.Context, _ http.Header, method, path string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", "gaff mcp")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no response from %s: %w; is gaff serve running there?", c.base, err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxMCPAnswer))
	return res.StatusCode, answer, err
}
