//! Our words as the engine takes them.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::words::{Word, words};

/// Splits texts as [`words`] does.
#[derive(Clone, Debug, Default)]
pub(crate) struct WordTokenizer;

/// The words of one text.
pub(crate) struct Tokens {
    words: std::vec::IntoIter<Word>,
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = Tokens;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens {
        Tokens { words: words(text).into_iter(), token: Token::default() }
    }
}

impl TokenStream for Tokens {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        (self.token.offset_from, self.token.offset_to) = (word.at.start, word.at.end);
        self.token.text = word.text;
        true
    }
    fn token(&self) -> &Token {
        &self.token
    }
    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
