// Says what Prometheus reads of expositions, so that Weir's parsers can be compared with its own.
//
// On standard input stand requests: one byte for the format (0 text, 1 OpenMetrics, 2 protobuf), the length of the body
// as four bytes (little endian), and the body. On standard output stands an answer for each: its length as four bytes
// and a listing, one item a line, ending with the line "end", or only "error" and why. Floats are written as their bits,
// and of names and values every byte that is not printable in ASCII as a backslash and two hexadecimal digits.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

var contentTypes = []string{
	"text/plain; version=1.0.0",
	"application/openmetrics-text; version=1.0.0",
	"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
}

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			out.Flush()
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, body); err != nil {
			panic(err)
		}
		answer := answer(body, contentTypes[head[0]])
		var length [4]byte
		binary.LittleEndian.PutUint32(length[:], uint32(len(answer)))
		out.Write(length[:])
		out.WriteString(answer)
		// Whoever asks sends many requests before it reads the answers.
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

func answer(body []byte, contentType string) (answer string) {
	defer func() {
		if fault := recover(); fault != nil {
			answer = fmt.Sprintf("error panic: %v\n", fault)
		}
	}()
	parser, err := textparse.New(body, contentType, nil, textparse.ParserOptions{})
	if err != nil {
		return fmt.Sprintf("error %v\n", err)
	}
	var list strings.Builder
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			list.WriteString("end\n")
			return list.String()
		}
		if err == nil {
			err = show(&list, parser, entry)
		}
		if err != nil {
			return fmt.Sprintf("error %v\n", err)
		}
	}
}

func show(list *strings.Builder, parser textparse.Parser, entry textparse.Entry) error {
	switch entry {
	case textparse.EntryType:
		name, kind := parser.Type()
		fmt.Fprintf(list, "type %s %s\n", quote(string(name)), kind)
	case textparse.EntryHelp:
		name, help := parser.Help()
		fmt.Fprintf(list, "help %s %s\n", quote(string(name)), quote(string(help)))
	case textparse.EntryUnit:
		name, unit := parser.Unit()
		fmt.Fprintf(list, "unit %s %s\n", quote(string(name)), quote(string(unit)))
	case textparse.EntrySeries:
		_, timestamp, value := parser.Series()
		text, err := series(parser)
		if err != nil {
			return err
		}
		fmt.Fprintf(list, "series %s %016x%s%s%s\n", text, math.Float64bits(value), at(timestamp), start(parser), exemplars(parser, false))
	case textparse.EntryHistogram:
		_, timestamp, whole, float := parser.Histogram()
		text, err := series(parser)
		if err != nil {
			return err
		}
		buckets, err := buckets(whole, float)
		if err != nil {
			return err
		}
		fmt.Fprintf(list, "histogram %s %s%s%s%s\n", text, buckets, at(timestamp), start(parser), exemplars(parser, true))
	}
	return nil
}

// The labels of a series, checked as the scraper and the storage do. Labels without a value are left out here: the scraper
// would leave out every other label of their name too.
func series(parser textparse.Parser) (string, error) {
	var raw labels.Labels
	parser.Labels(&raw)
	builder := labels.NewScratchBuilder(raw.Len())
	raw.Range(func(l labels.Label) {
		if l.Value != "" {
			builder.Add(l.Name, l.Value)
		}
	})
	lset := builder.Labels()
	if !lset.Has(labels.MetricName) {
		return "", errors.New("no metric name")
	}
	if !lset.IsValid(model.UTF8Validation) {
		return "", errors.New("invalid metric name or label names")
	}
	if name, is := lset.HasDuplicateLabelNames(); is {
		return "", fmt.Errorf("label name %q is not unique", name)
	}
	return pairs(lset), nil
}

func pairs(lset labels.Labels) string {
	var all [][2]string
	lset.Range(func(l labels.Label) { all = append(all, [2]string{l.Name, l.Value}) })
	sort.Slice(all, func(i, j int) bool { return all[i][0] < all[j][0] })
	var out strings.Builder
	for _, pair := range all {
		out.WriteString(quote(pair[0]) + "=" + quote(pair[1]) + ",")
	}
	return "{" + out.String() + "}"
}

func at(timestamp *int64) string {
	if timestamp == nil {
		return ""
	}
	return fmt.Sprintf(" at %d", *timestamp)
}

// OpenMetrics says it in series of their own, which Prometheus reads as such unless a feature is on.
func start(parser textparse.Parser) string {
	if _, is := parser.(*textparse.ProtobufParser); is && parser.StartTimestamp() != 0 {
		return fmt.Sprintf(" since %d", parser.StartTimestamp())
	}
	return ""
}

func exemplars(parser textparse.Parser, isHistogram bool) string {
	var out strings.Builder
	for {
		var e exemplar.Exemplar
		if !parser.Exemplar(&e) {
			return out.String()
		}
		if isHistogram && !e.HasTs {
			continue
		}
		fmt.Fprintf(&out, " # %s %016x", pairs(e.Labels), math.Float64bits(e.Value))
		if e.HasTs {
			fmt.Fprintf(&out, " at %d", e.Ts)
		}
	}
}

// Everything of a histogram, its buckets by index, without empty ones.
func buckets(whole *histogram.Histogram, float *histogram.FloatHistogram) (string, error) {
	if float == nil && whole == nil {
		return "", errors.New("neither histogram")
	}
	if float != nil {
		if err := float.Validate(); err != nil {
			return "", err
		}
		return fmt.Sprintf("float %d %016x %016x %016x %016x%s%s %v", float.Schema, math.Float64bits(float.Sum),
			math.Float64bits(float.Count), math.Float64bits(float.ZeroThreshold), math.Float64bits(float.ZeroCount),
			floats("positive", float.PositiveSpans, float.PositiveBuckets),
			floats("negative", float.NegativeSpans, float.NegativeBuckets), float.CounterResetHint == histogram.GaugeType), nil
	}
	if err := whole.Validate(); err != nil {
		return "", err
	}
	return fmt.Sprintf("whole %d %016x %d %016x %d%s%s %v", whole.Schema, math.Float64bits(whole.Sum), whole.Count,
		math.Float64bits(whole.ZeroThreshold), whole.ZeroCount,
		deltas("positive", whole.PositiveSpans, whole.PositiveBuckets),
		deltas("negative", whole.NegativeSpans, whole.NegativeBuckets), whole.CounterResetHint == histogram.GaugeType), nil
}

func deltas(name string, spans []histogram.Span, deltas []int64) string {
	counts, count := make([]int64, len(deltas)), int64(0)
	for i, delta := range deltas {
		count += delta
		counts[i] = count
	}
	return expand(name, spans, func(i int) string {
		if counts[i] == 0 {
			return ""
		}
		return fmt.Sprint(counts[i])
	})
}

func floats(name string, spans []histogram.Span, counts []float64) string {
	return expand(name, spans, func(i int) string {
		if counts[i] == 0 {
			return ""
		}
		return fmt.Sprintf("%016x", math.Float64bits(counts[i]))
	})
}

func expand(name string, spans []histogram.Span, count func(int) string) string {
	out, at, index := " "+name, 0, int32(0)
	for _, span := range spans {
		index += span.Offset
		for range span.Length {
			if text := count(at); text != "" {
				out += fmt.Sprintf(" %d:%s", index, text)
			}
			at, index = at+1, index+1
		}
	}
	return out
}

// Bytes beyond ASCII's printable ones, quotes and backslashes are written in hexadecimal.
func quote(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, b := range []byte(text) {
		if b < 0x20 || b > 0x7e || b == '"' || b == '\\' {
			fmt.Fprintf(&out, "\\%02x", b)
		} else {
			out.WriteByte(b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
