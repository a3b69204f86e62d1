package cel

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxResultDepth is the maximum nesting of a result.
const maxResultDepth = 64

// adapter takes values that encoding/json decoded without copying them, and keeps numbers
// exact that no float64 represents.
type adapter struct{ types.Adapter }

func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return types.NewErr("number %s is too large", v)
		}
		return types.Double(f)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return a.Adapter.NativeToValue(v)
}

// native returns a value of CEL as one that encoding/json can write.
func native(val ref.Val, depth int) (any, error) {
	if depth > maxResultDepth {
		return nil, fmt.Errorf("the value is nested deeper than %d levels", maxResultDepth)
	}
	switch v := val.(type) {
	case nil, types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errors.New("the value is not a finite number")
		}
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return native(v.GetValue(), depth+1)
	case traits.Mapper:
		return nativeMap(v, depth)
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			value, err := native(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case *types.Err:
		return nil, v
	}
	return nil, fmt.Errorf("a %s cannot be used as a value", val.Type().TypeName())
}

func nativeMap(v traits.Mapper, depth int) (any, error) {
	m := map[string]any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("the keys of a map must be strings; one is %s", key.Type().TypeName())
		}
		value, err := native(v.Get(key), depth+1)
		if err != nil {
			return nil, err
		}
		m[string(name)] = value
	}
	return m, nil
}
