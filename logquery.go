package gaff

// LogField is a field of a webhook log that conditions and orders can name.
type LogField string

// Fields of a webhook log, named as in the documents of Payload CMS.
const (
	LogID          LogField = "id"
	LogWebhookID   LogField = "webhookId"
	LogSource      LogField = "source"
	LogType        LogField = "type"
	LogStatus      LogField = "status"
	LogUnhandled   LogField = "unhandled"
	LogError       LogField = "error"
	LogRetryCount  LogField = "retryCount"
	LogReceivedAt  LogField = "receivedAt"
	LogProcessedAt LogField = "processedAt"
	LogUpdatedAt   LogField = "updatedAt"
)

// LogOperator compares a field of a webhook log.
type LogOperator string

// Operators of Payload CMS.
const (
	OpEquals           LogOperator = "equals"
	OpNotEquals        LogOperator = "not_equals"
	OpIn               LogOperator = "in"
	OpNotIn            LogOperator = "not_in"
	OpLike             LogOperator = "like"     // each word, in any order, upper or lower case
	OpContains         LogOperator = "contains" // the text, upper or lower case
	OpExists           LogOperator = "exists"
	OpGreaterThan      LogOperator = "greater_than"
	OpGreaterThanEqual LogOperator = "greater_than_equal"
	OpLessThan         LogOperator = "less_than"
	OpLessThanEqual    LogOperator = "less_than_equal"
)

// LogCondition is a condition on webhook logs: either And, Or, or a comparison of Field. Without
// any of them it is true.
type LogCondition struct {
	And, Or []LogCondition

	Field    LogField
	Operator LogOperator
	// Values has one value, or several for OpIn and OpNotIn. They are of type string, of int64
	// for LogRetryCount, Status for LogStatus, bool for LogUnhandled and OpExists, and time.Time
	// for times. A nil value is null.
	Values []any
}

// LogOrder orders webhook logs by a field.
type LogOrder struct {
	Field      LogField
	Descending bool
}

// LogSearch chooses webhook logs by any of their fields. No index serves it, so it looks at the
// newest [SearchWindow] events, without those that gaff emitted itself.
type LogSearch struct {
	Where LogCondition
	// Order is by decreasing precedence. Empty means newest processed first; events that were
	// never processed sort by the time they were received.
	Order         []LogOrder
	Offset, Limit int
}

// LogResult is a page of webhook logs.
type LogResult struct {
	Logs []Log
	// Total is the number of logs on all pages.
	Total int
	// Older is true if there are events before the newest SearchWindow, which were not looked at.
	Older bool
}
