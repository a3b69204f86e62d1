package cel

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// Bounds of one evaluation. CEL checks the cost and size of a value only after building it, so
// functions whose result can be far larger than their arguments have their own bounds.
const (
	// MaxText is the longest text that a function may build, in bytes.
	MaxText = 4 << 20
	// maxNodes is the size limit of one value, in nodes; textUnit bytes of text count as one.
	maxNodes = 1_000_000
	textUnit = 16
	// maxNesting is more than the accepted nesting of JSON (1,000 levels).
	maxNesting = 1_100
	// maxExprDepth is the maximum nesting of an expression. Checking the types of deeper ones
	// takes seconds.
	maxExprDepth = 100
	// maxItems is the longest list that lists.range or split returns.
	maxItems = 100_000
	// maxDistinct is the longest list that distinct accepts, since it compares all pairs.
	maxDistinct = 2_000
	// maxMatch is the limit of matches: bytes of the text times instructions of the pattern.
	maxMatch = 50_000_000
	// MaxTime is the time limit of one evaluation.
	MaxTime = 2 * time.Second
)

// textFunctions returns CEL's text functions. Functions whose result can be far larger than
// their arguments are replaced by ones that reject a result over [MaxText] before building it.
func textFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		ext.Strings(ext.StringsMaxPrecision(100)),
		cel.Function("replace",
			cel.MemberOverload("string_replace_string_string", repeat(cel.StringType, 3), cel.StringType, cel.FunctionBinding(replace)),
			cel.MemberOverload("string_replace_string_string_int", append(repeat(cel.StringType, 3), cel.IntType), cel.StringType,
				cel.FunctionBinding(replace))),
		cel.Function("join",
			cel.MemberOverload("list_join", []*cel.Type{cel.ListType(cel.StringType)}, cel.StringType,
				cel.UnaryBinding(func(list ref.Val) ref.Val { return join(list, types.String("")) })),
			cel.MemberOverload("list_join_string", []*cel.Type{cel.ListType(cel.StringType), cel.StringType}, cel.StringType,
				cel.BinaryBinding(join))),
		cel.Function("split",
			cel.MemberOverload("string_split_string", repeat(cel.StringType, 2), cel.ListType(cel.StringType), cel.FunctionBinding(split)),
			cel.MemberOverload("string_split_string_int", append(repeat(cel.StringType, 2), cel.IntType), cel.ListType(cel.StringType),
				cel.FunctionBinding(split))),
	}
}

// listFunctions returns CEL's list functions, with limits on lists made from a number and on
// lists whose items are all compared with each other.
func listFunctions() []cel.EnvOption {
	t := cel.TypeParamType("T")
	return []cel.EnvOption{
		ext.Lists(ext.ListsMaxRangeSize(maxItems)),
		cel.Function("distinct", cel.MemberOverload("list_distinct", []*cel.Type{cel.ListType(t)}, cel.ListType(t), cel.UnaryBinding(distinct))),
	}
}

// limits returns the program options that end an evaluation which exceeds cost, holds a
// value over the bounds, or is cancelled.
func limits(cost uint64) []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.CustomDecoratorV2(boundedMatches), cel.CostLimit(cost), cel.InterruptCheckFrequency(100), cel.MemoryLimit(maxNodes),
		cel.MemoryTracking(types.MemoryTrackerSizeCalculator(types.NewSizeCalculator(
			types.SizeCalculatorMaxDepth(maxNesting), types.SizeCalculatorMaxTraversal(maxNodes),
			types.SizeCalculatorStringUnitLength(textUnit)))),
	}
}

func repeat(t *cel.Type, n int) []*cel.Type {
	list := make([]*cel.Type, n)
	for i := range list {
		list[i] = t
	}
	return list
}

func tooLong(function string, size int) ref.Val {
	return types.NewErr("%s: the result would have %d bytes; at most %d are allowed", function, size, MaxText)
}

// replace is strings.Replace, unless the result is over the bound.
func replace(args ...ref.Val) ref.Val {
	text, old, with := string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String))
	n := -1
	if len(args) > 3 {
		n = int(args[3].(types.Int))
	}
	count := strings.Count(text, old)
	if n >= 0 {
		count = min(count, n)
	}
	if size := len(text) + count*(len(with)-len(old)); size > max(MaxText, len(text)) {
		return tooLong("replace", size)
	}
	return types.String(strings.Replace(text, old, with, n))
}

// join is strings.Join, unless the result is over the bound.
func join(list, separator ref.Val) ref.Val {
	var b strings.Builder
	for it, first := list.(traits.Lister).Iterator(), true; it.HasNext() == types.True; first = false {
		item := it.Next()
		text, ok := item.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(item)
		}
		between := string(separator.(types.String))
		if first {
			between = ""
		}
		if size := b.Len() + len(between) + len(text); size > MaxText {
			return tooLong("join", size)
		}
		b.WriteString(between)
		b.WriteString(string(text))
	}
	return types.String(b.String())
}

// split is strings.SplitN, unless there are too many parts.
func split(args ...ref.Val) ref.Val {
	text, separator := string(args[0].(types.String)), string(args[1].(types.String))
	n := -1
	if len(args) > 2 {
		n = int(args[2].(types.Int))
	}
	parts := strings.Count(text, separator) + 1
	if n >= 0 {
		parts = min(parts, n)
	}
	if parts > maxItems {
		return types.NewErr("split: the result would have %d items; at most %d are allowed", parts, maxItems)
	}
	return types.DefaultTypeAdapter.NativeToValue(strings.SplitN(text, separator, n))
}

// boundedMatches replaces the standard function matches by ours.
func boundedMatches(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || call.Function() != overloads.Matches {
		return i, nil
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), matches), nil
}

// matches is the standard function, unless the match would take long.
func matches(args ...ref.Val) ref.Val {
	text, ok := args[0].(types.String)
	pattern, is := args[1].(types.String)
	if !ok || !is {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	s, p := string(text), string(pattern)
	size, err := types.RegexProgramSize(p)
	if err != nil {
		return types.WrapErr(err)
	}
	if size*len(s) > maxMatch {
		return types.NewErr("matches: a pattern of %d instructions over %d bytes of text takes too long; shorten one of them", size, len(s))
	}
	re, err := regexp.Compile(p)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(re.MatchString(s))
}

// distinct returns the list without repeated items.
func distinct(list ref.Val) ref.Val {
	items := list.(traits.Lister)
	if n := int(items.Size().(types.Int)); n > maxDistinct {
		return types.NewErr("distinct: the list has %d items; at most %d are allowed", n, maxDistinct)
	}
	unique := []ref.Val{}
	for it := items.Iterator(); it.HasNext() == types.True; {
		item := it.Next()
		if !slices.ContainsFunc(unique, func(u ref.Val) bool { return item.Equal(u) == types.True }) {
			unique = append(unique, item)
		}
	}
	return types.DefaultTypeAdapter.NativeToValue(unique)
}
