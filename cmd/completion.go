package cmd

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts ask the binary itself what could come next, so they never grow
// old.
const (
	completionFlag = "--generate-completion"
	bashCompletion = `_starling() {
  local cur words
  cur="${COMP_WORDS[COMP_CWORD]}"
  words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  if [[ "$cur" == -* ]]; then words+=("$cur"); fi
  COMPREPLY=($(compgen -W "$("${words[@]}" ` + completionFlag + ` 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _starling starling
`
	zshCompletion = `#compdef starling
_starling() {
  local -a given options
  given=("${(@)words[1,CURRENT-1]}")
  if [[ "${words[CURRENT]}" == -* ]]; then given+=("${words[CURRENT]}"); fi
  options=("${(@f)$("${given[@]}" ` + completionFlag + ` 2>/dev/null)}")
  if [[ -n "${options[1]}" ]]; then compadd -- "${options[@]}"; else _files; fi
}
compdef _starling starling
`
	fishCompletion = `function __starling_complete
  set -l given (commandline -opc)
  set -l current (commandline -ct)
  if string match -q -- '-*' $current
    set given $given $current
  end
  $given ` + completionFlag + ` 2>/dev/null
end
complete -c starling -a '(__starling_complete)'
`
	powershellCompletion = `Register-ArgumentCompleter -Native -CommandName starling -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $given = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.ToString() })
  if ($wordToComplete -like '-*') { $given += $wordToComplete }
  $rest = @($given | Select-Object -Skip 1)
  & $given[0] @rest ` + completionFlag + ` 2>$null | Where-Object { $_ -like "$wordToComplete*" } |
    ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
}
`
)

func (p *Program) completionCommand() *cli.Command {
	scripts := []struct{ shell, text, example string }{
		{"bash", bashCompletion, `source <(starling completion bash)`},
		{"zsh", zshCompletion, `source <(starling completion zsh)`},
		{"fish", fishCompletion, `starling completion fish > ~/.config/fish/completions/starling.fish`},
		{"powershell", powershellCompletion, `starling completion powershell | Out-String | Invoke-Expression`},
	}
	var lines, shells []string
	for _, s := range scripts {
		lines, shells = append(lines, s.example), append(shells, s.shell)
	}
	return &cli.Command{
		Name:        "completion",
		Usage:       "a script that completes commands and flags in your shell",
		ArgsUsage:   strings.Join(shells, "|"),
		Description: examples(lines...),
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			i := slices.Index(shells, shell)
			if i < 0 {
				return &usageError{fmt.Sprintf("starling completion: no script for %q; there are %s", shell, strings.Join(shells, ", "))}
			}
			_, err := io.WriteString(p.Stdout, scripts[i].text)
			return err
		},
	}
}
