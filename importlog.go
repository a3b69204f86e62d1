package gaff

import "context"

// ImportedScheme is the [Verification] scheme of an event of the past that was imported from another
// system. It has no deliveries.
const ImportedScheme = "imported"

// Importer stores events of the past with the outcome that they had elsewhere.
type Importer interface {
	// ImportLogs stores the logs that are not stored yet, by source and dedupe key, in one commit, and
	// returns their number. Their Status, Error, RetryCount and ProcessedAt are stored; nothing
	// processes them.
	ImportLogs(ctx context.Context, logs []Log) (added int, err error)
}
