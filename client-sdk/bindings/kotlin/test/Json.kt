package test

/** As much of JSON as the scenarios have: values as lists, maps, texts, numbers and truths. */
class Json private constructor(private val text: String) {
    private var at = 0

    private fun skip() {
        while (at < text.length && text[at].isWhitespace()) at++
    }

    private fun take(wanted: String): Boolean {
        skip()
        return text.startsWith(wanted, at).also { if (it) at += wanted.length }
    }

    private fun must(wanted: String) = check(take(wanted)) { "no $wanted at $at" }

    private fun <T> rows(end: String, row: () -> T): List<T> {
        val all = mutableListOf<T>()
        if (take(end)) return all
        do all += row() while (take(","))
        must(end)
        return all
    }

    private fun string(): String {
        must("\"")
        val end = text.indexOf('"', at)
        check(end >= 0 && '\\' !in text.substring(at, end)) { "a text that this reader does not know, at $at" }
        return text.substring(at, end).also { at = end + 1 }
    }

    private fun value(): Any = when {
        take("[") -> rows("]") { value() }
        take("{") -> rows("}") { string().also { must(":") } to value() }.toMap()
        take("true") -> true
        take("false") -> false
        text[at] == '"' -> string()
        else -> text.substring(at).takeWhile { it.isDigit() }.also { at += it.length }.toLong()
    }

    companion object {
        fun read(text: String): Any = Json(text).value()
    }
}
