package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"gaff/internal/testcode"
)

// maxTest bounds the code of a test, in bytes: quoting makes a body longer.
const maxTest = 8 * testcode.MaxBody

func (p *program) eventsTestCommand() *cobra.Command {
	var language string
	cmd := &cobra.Command{
		Use: "test ID", Short: "Print an event as a test in Go or TypeScript, or as a script with curl",
		Long: `Print code that posts the event to your application, signed as gaff signs it. TEST_URL is the application's URL,
TEST_SECRET the secret of the destination.`,
		Example: "  gaff events test evt_… --lang ts > event.test.ts",
		Args:    arguments(1, 1, "one ID"),
	}
	cmd.RunE = work(func(ctx context.Context, args []string) error {
		if !testcode.Known(language) {
			return usagef("unknown --lang %q: want go, ts or curl", language)
		}
		c, err := p.dial()
		if err != nil {
			return err
		}
		res, err := c.send(ctx, http.MethodGet, "/api/v1/events/"+url.PathEscape(args[0])+"/test", url.Values{"lang": {language}}, nil, nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		code, err := io.ReadAll(io.LimitReader(res.Body, maxTest))
		if err != nil {
			return fmt.Errorf("read the test: %w", err)
		}
		_, err = p.Stdout.Write(code)
		return err
	})
	cmd.Flags().StringVar(&language, "lang", testcode.Languages[0], "go, ts or curl")
	p.clientFlags(cmd)
	return cmd
}
