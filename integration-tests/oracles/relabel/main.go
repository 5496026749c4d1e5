// The oracle of relabelling: reads cases from its standard input, one JSON object a line, and writes what Prometheus'
// own package model/relabel makes of each, one JSON object a line. It is asked by the example relabel_oracle of the
// crate weir-samples. With the argument "classes" it writes the names of classes of Unicode that Go knows, one a line.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

type rule struct {
	SourceLabels []string `json:"source_labels"`
	Separator    string   `json:"separator"`
	Regex        string   `json:"regex"`
	Modulus      uint64   `json:"modulus"`
	TargetLabel  string   `json:"target_label"`
	Replacement  string   `json:"replacement"`
	Action       string   `json:"action"`
}

// A case: the same rules over several label sets, each a list of names and values.
type question struct {
	Rules []rule        `json:"rules"`
	Sets  [][][2]string `json:"sets"`
}

// What became of it: an error, or for each label set its labels, null where it was dropped.
type answer struct {
	Error string        `json:"error,omitempty"`
	Sets  [][][2]string `json:"sets"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "classes" {
		classes()
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for decoder.More() {
		var q question
		if err := decoder.Decode(&q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := encoder.Encode(solve(q)); err != nil {
			os.Exit(1)
		}
	}
}

func classes() {
	fmt.Println("Any\nASCII\nAssigned")
	for name := range unicode.Categories {
		fmt.Println(name)
	}
	for name := range unicode.CategoryAliases {
		fmt.Println(name)
	}
	for name := range unicode.Scripts {
		fmt.Println(name)
	}
}

func solve(q question) answer {
	configs := make([]*relabel.Config, 0, len(q.Rules))
	for index, r := range q.Rules {
		config, err := compile(r)
		if err != nil {
			return answer{Error: fmt.Sprintf("rule %d: %v", index, err)}
		}
		configs = append(configs, config)
	}
	a := answer{}
	for _, set := range q.Sets {
		builder := labels.NewScratchBuilder(len(set))
		for _, label := range set {
			builder.Add(label[0], label[1])
		}
		builder.Sort()
		result, keep := relabel.Process(builder.Labels(), configs...)
		if !keep {
			a.Sets = append(a.Sets, nil)
			continue
		}
		pairs := [][2]string{}
		result.Range(func(l labels.Label) { pairs = append(pairs, [2]string{l.Name, l.Value}) })
		a.Sets = append(a.Sets, pairs)
	}
	return a
}

// What reading a configuration does, with the checks that lie in the types of its members.
func compile(r rule) (*relabel.Config, error) {
	config := relabel.DefaultRelabelConfig
	config.Separator, config.Modulus = r.Separator, r.Modulus
	config.TargetLabel, config.Replacement = r.TargetLabel, r.Replacement
	err := config.Action.UnmarshalYAML(func(into any) error {
		*into.(*string) = r.Action
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range r.SourceLabels {
		if !model.LabelName(name).IsValid() {
			return nil, fmt.Errorf("%q is not a valid label name", name)
		}
		config.SourceLabels = append(config.SourceLabels, model.LabelName(name))
	}
	// The default is told from others by its address.
	if r.Regex != "(.*)" {
		if config.Regex, err = relabel.NewRegexp(strings.Clone(r.Regex)); err != nil {
			return nil, err
		}
	}
	if err := config.Validate(model.UTF8Validation); err != nil {
		return nil, err
	}
	return &config, nil
}
