package api

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
)

// Payload CMS writes queries as nested parameters, such as
// where[or][0][and][1][source][in]=shop,custom (https://payloadcms.com/docs/queries/overview,
// read 2026-11).

// Bounds of a query.
const (
	maxConditions     = 100
	maxConditionDepth = 8
	maxConditionList  = 200 // values of in and not_in
	maxOrders         = 8
)

var whereName = regexp.MustCompile(`^where((?:\[[A-Za-z0-9_.]{1,40}\])+)$`)

// whereTree is a where parameter, before its meaning is known: the parts by name, or a value.
type whereTree struct {
	parts map[string]*whereTree
	value *string
}

func (t *whereTree) add(path []string, value string) error {
	for _, name := range path {
		if t.value != nil {
			return errors.New("it has a value and parts")
		}
		if t.parts == nil {
			t.parts = map[string]*whereTree{}
		}
		next := t.parts[name]
		if next == nil {
			next = &whereTree{}
			t.parts[name] = next
		}
		t = next
	}
	if t.parts != nil || t.value != nil {
		return errors.New("it has a value and parts")
	}
	t.value = &value
	return nil
}

// whereOf reads the where parameters of a query; ok is false if it has none.
func whereOf(values url.Values) (c gaff.LogCondition, ok bool, err error) {
	root, n := &whereTree{}, 0
	for _, name := range slices.Sorted(maps.Keys(values)) {
		m := whereName.FindStringSubmatch(name)
		if m == nil {
			if strings.HasPrefix(name, "where") {
				return c, false, fmt.Errorf("%.80q is not a condition: want where[field][operator], also below [and][0] and [or][0]", name)
			}
			continue
		}
		if n++; n > maxConditions {
			return c, false, fmt.Errorf("where has more than %d parts", maxConditions)
		}
		path := strings.Split(strings.Trim(m[1], "[]"), "][")
		if len(path) > maxConditionDepth {
			return c, false, fmt.Errorf("%.80q is nested deeper than %d", name, maxConditionDepth)
		}
		if err := root.add(path, values.Get(name)); err != nil {
			return c, false, fmt.Errorf("%.80q cannot be read: %w", name, err)
		}
	}
	if n == 0 {
		return c, false, nil
	}
	c, err = conditionOf("where", root)
	return c, true, err
}

// conditionOf reads the conditions at a place: all of them have to be true.
func conditionOf(place string, t *whereTree) (c gaff.LogCondition, err error) {
	if t.parts == nil {
		return c, fmt.Errorf("%s is not a condition: want %s[field][operator]", place, place)
	}
	for _, name := range slices.Sorted(maps.Keys(t.parts)) {
		part, at := t.parts[name], place+"["+name+"]"
		switch lower := strings.ToLower(name); lower {
		case "and", "or":
			list, err := conditionList(at, part)
			if err != nil {
				return c, err
			}
			if lower == "or" {
				c.And = append(c.And, gaff.LogCondition{Or: list})
			} else {
				c.And = append(c.And, list...)
			}
		default:
			comparisons, err := comparisonsOf(at, name, part)
			if err != nil {
				return c, err
			}
			c.And = append(c.And, comparisons...)
		}
	}
	return c, nil
}

// conditionList reads the numbered conditions of and and or, in their order.
func conditionList(place string, t *whereTree) (list []gaff.LogCondition, err error) {
	numbers := make([]int, 0, len(t.parts))
	for name := range t.parts {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || strconv.Itoa(n) != name {
			return nil, fmt.Errorf("%s[%.20s] is not a number: want %s[0], %s[1] and so on", place, name, place, place)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("%s has no conditions", place)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		name := strconv.Itoa(n)
		c, err := conditionOf(place+"["+name+"]", t.parts[name])
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// logFieldKinds are the fields that conditions and orders can name; createdAt is the time of
// receipt, as in the documents.
var logFieldKinds = map[string]struct {
	field gaff.LogField
	parse func(string) (any, error)
}{
	"id":          {gaff.LogID, textValue},
	"webhookId":   {gaff.LogWebhookID, textValue},
	"source":      {gaff.LogSource, textValue},
	"type":        {gaff.LogType, textValue},
	"status":      {gaff.LogStatus, statusValue},
	"unhandled":   {gaff.LogUnhandled, boolValue},
	"error":       {gaff.LogError, textValue},
	"retryCount":  {gaff.LogRetryCount, numberValue},
	"receivedAt":  {gaff.LogReceivedAt, timeValue},
	"createdAt":   {gaff.LogReceivedAt, timeValue},
	"processedAt": {gaff.LogProcessedAt, timeValue},
	"updatedAt":   {gaff.LogUpdatedAt, timeValue},
}

var logOperators = []gaff.LogOperator{
	gaff.OpEquals, gaff.OpNotEquals, gaff.OpIn, gaff.OpNotIn, gaff.OpLike, gaff.OpContains, gaff.OpExists,
	gaff.OpGreaterThan, gaff.OpGreaterThanEqual, gaff.OpLessThan, gaff.OpLessThanEqual,
}

// comparisonsOf reads the operators of a field.
func comparisonsOf(place, name string, t *whereTree) (list []gaff.LogCondition, err error) {
	kind, ok := logFieldKinds[name]
	if !ok {
		return nil, fmt.Errorf("%s: unknown field %q: want %s", place, name, strings.Join(slices.Sorted(maps.Keys(logFieldKinds)), ", "))
	}
	if t.parts == nil {
		return nil, fmt.Errorf("%s has no operator: want %s[equals]", place, place)
	}
	for _, op := range slices.Sorted(maps.Keys(t.parts)) {
		operator := gaff.LogOperator(op)
		if !slices.Contains(logOperators, operator) {
			return nil, fmt.Errorf("%s: unknown operator %q: want %s", place, op, joinOperators())
		}
		texts, err := valuesOf(place+"["+op+"]", operator, t.parts[op])
		if err != nil {
			return nil, err
		}
		c := gaff.LogCondition{Field: kind.field, Operator: operator}
		for _, text := range texts {
			if text == "" && emptyFindsNothing(&c) {
				continue
			}
			v, err := operandOf(operator, kind.parse, text)
			if err != nil {
				return nil, fmt.Errorf("%s[%s] is %.40q: %w", place, op, text, err)
			}
			c.Values = append(c.Values, v)
		}
		list = append(list, c)
	}
	return list, nil
}

// emptyFindsNothing drops an empty value of a field that cannot be empty, such as status: no log has
// it. A comparison with one value becomes one with a list, which may be empty.
func emptyFindsNothing(c *gaff.LogCondition) bool {
	switch c.Operator {
	case gaff.OpEquals, gaff.OpIn:
		c.Operator = gaff.OpIn
	case gaff.OpNotEquals, gaff.OpNotIn:
		c.Operator = gaff.OpNotIn
	default:
		return false
	}
	return true
}

func joinOperators() string {
	names := make([]string, len(logOperators))
	for i, op := range logOperators {
		names[i] = string(op)
	}
	return strings.Join(names, ", ")
}

// valuesOf returns the values of an operator: one, or for in and not_in those between commas or
// with numbers in brackets.
func valuesOf(place string, op gaff.LogOperator, t *whereTree) ([]string, error) {
	several := op == gaff.OpIn || op == gaff.OpNotIn
	if t.value != nil {
		if !several {
			return []string{*t.value}, nil
		}
		texts := strings.Split(*t.value, ",")
		if len(texts) > maxConditionList {
			return nil, fmt.Errorf("%s has more than %d values", place, maxConditionList)
		}
		return texts, nil
	}
	if !several || len(t.parts) == 0 {
		return nil, fmt.Errorf("%s takes one value", place)
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(t.parts)) {
		part := t.parts[name]
		if _, err := strconv.Atoi(name); err != nil || part.value == nil {
			return nil, fmt.Errorf("%s[%.20s] is not a value of a list: want %s[0]", place, name, place)
		}
		texts = append(texts, *part.value)
	}
	return texts, nil
}

// operandOf reads a value. As in Payload the text null means that the field has no value.
func operandOf(op gaff.LogOperator, parse func(string) (any, error), text string) (any, error) {
	switch op { //nolint:exhaustive // the rest is read as the field
	case gaff.OpExists:
		return boolValue(text)
	case gaff.OpLike, gaff.OpContains:
		return text, nil
	case gaff.OpEquals, gaff.OpNotEquals, gaff.OpIn, gaff.OpNotIn:
		if text == "null" {
			return nil, nil
		}
	}
	return parse(text)
}

func textValue(text string) (any, error) { return text, nil }

func boolValue(text string) (any, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, errors.New("true or false is wanted")
}

func numberValue(text string) (any, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errors.New("a whole number is wanted")
	}
	return n, nil
}

func statusValue(text string) (any, error) {
	status, ok := gaff.ParseStatus(text)
	if !ok {
		return nil, errors.New("pending, success or error is wanted")
	}
	return status, nil
}

func timeValue(text string) (any, error) {
	for _, layout := range [...]string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return nil, errors.New("a time is wanted, such as 2026-11-29T12:00:00Z")
}

// ordersOf reads the parameter sort: fields between commas, with - in front for descending.
func ordersOf(text string) (orders []gaff.LogOrder, err error) {
	names := strings.Split(text, ",")
	if len(names) > maxOrders {
		return nil, fmt.Errorf("sort has more than %d fields", maxOrders)
	}
	for _, name := range names {
		field, descending := strings.CutPrefix(name, "-")
		kind, ok := logFieldKinds[field]
		if !ok {
			return nil, fmt.Errorf("sort is %.40q: want fields of %s, with - in front for the highest first", text, strings.Join(slices.Sorted(maps.Keys(logFieldKinds)), ", "))
		}
		orders = append(orders, gaff.LogOrder{Field: kind.field, Descending: descending})
	}
	return orders, nil
}

// logSearch is a query that no index serves, with the parts of the answer that it chooses.
type logSearch struct {
	gaff.LogSearch
	page int
	// limit is the parameter's value; 0 for all logs, of which at most maxPageSize are shown.
	limit int
	// single is true for an answer without pages: the logs of the only page are all that count.
	single bool
	// selected are the members of each document; nil for all. If excluded is true they are left out.
	selected map[string]bool
	excluded bool
}

// simpleOrders are the orders that indexes serve.
var simpleOrders = []string{"", "processedAt", "receivedAt", "createdAt"}

// needsSearch reports whether a query has a part that only [logSearchOf] reads.
func needsSearch(values url.Values) bool {
	if _, ok := values["pagination"]; ok || values.Get("limit") == "0" {
		return true
	}
	if !slices.Contains(simpleOrders, strings.TrimPrefix(values.Get("sort"), "-")) {
		return true
	}
	for name := range values {
		if strings.HasPrefix(name, "select") || strings.HasPrefix(name, "where") && !whereParam.MatchString(name) ||
			strings.HasSuffix(name, "[in]") && strings.Contains(values.Get(name), ",") {
			return true
		}
	}
	return false
}

var selectName = regexp.MustCompile(`^select\[([A-Za-z]{1,40})\]$`)

// logSearchOf reads the parameters of a search.
func logSearchOf(values url.Values) (q logSearch, err error) {
	q = logSearch{page: 1, limit: defaultPageSize}
	where, _, err := whereOf(values)
	if err != nil {
		return q, err
	}
	q.Where.And = append(q.Where.And, where)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		switch {
		case strings.HasPrefix(name, "where") || value == "" && slices.Contains(managePlain, name):
		case strings.HasPrefix(name, "select"):
			err = q.selectMember(name, value)
		case name == "source" || name == "type" || name == "status":
			var list []gaff.LogCondition
			list, err = comparisonsOf(name, name, &whereTree{parts: map[string]*whereTree{string(gaff.OpEquals): {value: &value}}})
			q.Where.And = append(q.Where.And, list...)
		case name == "limit" && value == "0":
			q.limit = 0
		case name == "limit":
			q.limit, err = number(name, value, maxPageSize)
		case name == "page":
			q.page, err = number(name, value, maxPage)
		case name == "sort":
			q.Order, err = ordersOf(value)
		case name == "pagination":
			_, err = boolValue(value)
			q.single = value == "false"
		case !slices.Contains(manageIgnored, name):
			err = fmt.Errorf("parameter %.60q is not known: want source, type, status, limit, page, sort, pagination, select[…] or where[…]", name)
		}
		if err != nil {
			return q, err
		}
	}
	if q.single && values.Get("limit") == "" {
		q.limit = 0
	}
	if q.Limit = q.limit; q.limit == 0 {
		q.Limit, q.page = maxPageSize, 1
	}
	q.Offset = (q.page - 1) * q.Limit
	return q, nil
}

// logSelection reads the parameters of a single log: what Payload's clients send, and select.
func logSelection(values url.Values) (q logSearch, err error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case strings.HasPrefix(name, "select"):
			err = q.selectMember(name, values.Get(name))
		case !slices.Contains(manageIgnored, name):
			err = fmt.Errorf("parameter %.60q is not known: want select[…]", name)
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

// selectMember reads select[name]=true or false. Payload chooses members by either, not both.
func (q *logSearch) selectMember(name, value string) error {
	m := selectName.FindStringSubmatch(name)
	if m == nil {
		return fmt.Errorf("%.60q is not a selection: want select[source]=true", name)
	}
	v, err := boolValue(value)
	if err != nil {
		return fmt.Errorf("%s is %.40q: %w", name, value, err)
	}
	excluded := v == false
	if q.selected == nil {
		q.selected, q.excluded = map[string]bool{}, excluded
	}
	if q.excluded != excluded {
		return errors.New("select chooses members by true or by false, not by both")
	}
	q.selected[m[1]] = true
	return nil
}

// shows reports whether the answer has a member of the documents. The id is always there.
func (q *logSearch) shows(member string) bool {
	return q.selected == nil || member == "id" || q.selected[member] != q.excluded
}
