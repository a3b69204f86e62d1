package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
)

// SearchLogs returns a page of the webhook logs that a condition chooses, with their bodies.
func (s *Store) SearchLogs(ctx context.Context, q gaff.LogSearch) (found gaff.LogResult, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	found, err = s.searchLogs(ctx, q)
	return found, s.fault(ctx, "webhook logs", err)
}

func (s *Store) searchLogs(ctx context.Context, q gaff.LogSearch) (found gaff.LogResult, err error) {
	chosen, err := logPredicate(q.Where)
	if err != nil {
		return found, err
	}
	order, err := logOrder(q.Order)
	if err != nil {
		return found, err
	}
	tx, err := s.lists(ctx).BeginTx(ctx, s.snapshot())
	if err != nil {
		return found, err
	}
	defer tx.Rollback()
	oldest, newest, err := eventBounds(ctx, tx)
	if err != nil {
		return found, err
	}
	var w where
	w.add("e.seq > ?", newest-gaff.SearchWindow)
	w.add("e.source <> ?", gaff.InternalSource)
	w.add(chosen.text, chosen.args...)
	keys, err := collect(ctx, tx, func(rows *sql.Rows) (k logKey, err error) {
		err = rows.Scan(&k.seq)
		return k, err
	}, `select e.seq from event e`+w.String()+` order by `+order+` limit `+strconv.Itoa(q.Limit)+` offset `+strconv.Itoa(q.Offset), w.args...)
	if err != nil {
		return found, err
	}
	n, err := column[int](ctx, tx, `select count(*) from event e`+w.String(), w.args...)
	if err != nil {
		return found, err
	}
	found.Total, found.Older = n[0], oldest <= newest-gaff.SearchWindow
	found.Logs, err = s.logsOf(ctx, tx, keys)
	return found, err
}

// eventBounds returns the lowest and the highest number of an event; 1 and 0 without any.
func eventBounds(ctx context.Context, q querier) (oldest, newest int64, err error) {
	bounds, err := collect(ctx, q, func(rows *sql.Rows) (b [2]int64, err error) {
		err = rows.Scan(&b[0], &b[1])
		return b, err
	}, `select coalesce((select min(seq) from event), 1), coalesce((select max(seq) from event), 0)`)
	if err != nil {
		return 0, 0, err
	}
	return bounds[0][0], bounds[0][1], nil
}

// logColumn is how SQL names a field. text means that it holds text, nullable that it may be null,
// time that it is a time in microseconds.
type logColumn struct {
	name                 string
	text, nullable, time bool
}

var logFields = map[gaff.LogField]logColumn{
	gaff.LogID:          {name: "e.seq"},
	gaff.LogWebhookID:   {name: "e.webhook_id", text: true},
	gaff.LogSource:      {name: "e.source", text: true},
	gaff.LogType:        {name: "e.type", text: true},
	gaff.LogStatus:      {name: "e.status"},
	gaff.LogUnhandled:   {name: "e.unhandled"},
	gaff.LogError:       {name: "nullif(e.error, '')", text: true, nullable: true},
	gaff.LogRetryCount:  {name: "e.retry_count"},
	gaff.LogReceivedAt:  {name: "e.received_at", time: true},
	gaff.LogProcessedAt: {name: "e.processed_at", nullable: true, time: true},
	gaff.LogUpdatedAt:   {name: "e.updated_at", time: true},
}

var logComparisons = map[gaff.LogOperator]string{
	gaff.OpGreaterThan: " > ", gaff.OpGreaterThanEqual: " >= ", gaff.OpLessThan: " < ", gaff.OpLessThanEqual: " <= ",
}

// logPredicate compiles a condition.
func logPredicate(c gaff.LogCondition) (predicate, error) {
	switch {
	case len(c.And) > 0:
		return joinPredicates(c.And, " and ")
	case len(c.Or) > 0:
		return joinPredicates(c.Or, " or ")
	case c.Field == "":
		return predicate{text: "1 = 1"}, nil
	}
	col, ok := logFields[c.Field]
	if !ok {
		return predicate{}, fmt.Errorf("%w: unknown field %q of webhook logs", gaff.ErrInvalid, c.Field)
	}
	if col.time {
		// Documents show milliseconds, so that is what a caller can compare with.
		col.name = "(" + col.name + " / 1000)"
	}
	values := make([]any, len(c.Values))
	for i, v := range c.Values {
		values[i] = logValue(c.Field, v)
	}
	return col.compare(c, values)
}

func joinPredicates(all []gaff.LogCondition, with string) (joined predicate, err error) {
	texts := make([]string, len(all))
	for i, c := range all {
		p, err := logPredicate(c)
		if err != nil {
			return predicate{}, err
		}
		texts[i] = p.text
		joined.args = append(joined.args, p.args...)
	}
	joined.text = "(" + strings.Join(texts, with) + ")"
	return joined, nil
}

// logValue returns a value as the column stores it. An id that no event can have becomes -1.
func logValue(field gaff.LogField, v any) any {
	switch v := v.(type) {
	case time.Time:
		return micros(v) / 1000
	case gaff.Status:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case string:
		if field == gaff.LogID {
			if seq, ok := id.ParseEvent(v); ok {
				return seq
			}
			return int64(-1)
		}
	}
	return v
}

// compare makes a comparison with values of the column's type. As in Payload, a missing value is
// not equal to any value.
func (col logColumn) compare(c gaff.LogCondition, values []any) (predicate, error) {
	name := col.name
	unknown := fmt.Errorf("%w: %s cannot be compared by %s", gaff.ErrInvalid, c.Field, c.Operator)
	if c.Operator != gaff.OpIn && c.Operator != gaff.OpNotIn && len(values) != 1 {
		return predicate{}, fmt.Errorf("%w: %s of %s needs one value", gaff.ErrInvalid, c.Operator, c.Field)
	}
	switch c.Operator { //nolint:exhaustive // the rest is in logComparisons
	case gaff.OpExists:
		if values[0] == int64(1) {
			return predicate{text: name + " is not null"}, nil
		}
		return predicate{text: name + " is null"}, nil
	case gaff.OpEquals, gaff.OpIn:
		return col.among(values), nil
	case gaff.OpNotEquals, gaff.OpNotIn:
		p := col.among(values)
		if p.text = "not " + p.text; col.nullable && !hasNull(values) {
			p.text = "(" + name + " is null or " + p.text + ")"
		}
		return p, nil
	case gaff.OpLike, gaff.OpContains:
		text, ok := values[0].(string)
		if !ok || !col.text {
			return predicate{}, unknown
		}
		words := []string{text}
		if c.Operator == gaff.OpLike {
			words = strings.Fields(text)
		}
		if strings.TrimSpace(text) == "" {
			return predicate{text: "1 = 0"}, nil // an empty value finds nothing, with any operator
		}
		p := predicate{text: "(" + name + " is not null"}
		for _, word := range words {
			p.text += " and lower(" + name + `) like ? escape '\'`
			p.args = append(p.args, contains(strings.ToLower(word)))
		}
		p.text += ")"
		return p, nil
	}
	sign, ok := logComparisons[c.Operator]
	if !ok || c.Field == gaff.LogID || c.Field == gaff.LogStatus || c.Field == gaff.LogUnhandled || values[0] == nil {
		return predicate{}, unknown
	}
	return predicate{text: name + sign + "?", args: values}, nil
}

// among is true for the rows whose column has one of the values, of which nil is null.
func (col logColumn) among(values []any) predicate {
	var p predicate
	for _, v := range values {
		if v != nil {
			p.args = append(p.args, v)
		}
	}
	var parts []string
	if len(p.args) > 0 {
		parts = append(parts, col.name+" in (?"+strings.Repeat(", ?", len(p.args)-1)+")")
	}
	if hasNull(values) {
		parts = append(parts, col.name+" is null")
	}
	if len(parts) == 0 {
		parts = []string{"1 = 0"}
	}
	p.text = "(" + strings.Join(parts, " or ") + ")"
	return p
}

func hasNull(values []any) bool {
	for _, v := range values {
		if v == nil {
			return true
		}
	}
	return false
}

// logOrder returns the list of an order by clause. It ends with the number of the event, so that
// pages do not overlap. Rows without a value come last in both directions.
func logOrder(order []gaff.LogOrder) (string, error) {
	if len(order) == 0 {
		order = []gaff.LogOrder{{Field: gaff.LogProcessedAt, Descending: true}}
	}
	parts := make([]string, 0, len(order)+1)
	for _, o := range order {
		col, ok := logFields[o.Field]
		if !ok {
			return "", fmt.Errorf("%w: unknown field %q of webhook logs", gaff.ErrInvalid, o.Field)
		}
		name := col.name
		if o.Field == gaff.LogProcessedAt {
			name = "coalesce(e.processed_at, e.received_at)" // as the list without a condition
		}
		if col.nullable && o.Field != gaff.LogProcessedAt {
			parts = append(parts, "case when "+name+" is null then 1 else 0 end")
		}
		parts = append(parts, name+direction(o.Descending))
	}
	return strings.Join(append(parts, "e.seq"+direction(order[0].Descending)), ", "), nil
}

func direction(descending bool) string {
	if descending {
		return " desc"
	}
	return ""
}
